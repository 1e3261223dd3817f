package dsl

func (p *parser) boolClause(clause string, n node) Query {
	f, q := newFrame(), Bool{}
	defer p.leave()
	if !p.enter(n.at) {
		return q
	}
	for _, o := range p.options(clause, n) {
		switch o.name {
		case "must":
			q.Must = p.queries(o)
		case "should":
			q.Should = p.queries(o)
		case "must_not":
			q.MustNot = p.queries(o)
		case "filter":
			q.Filter = p.queries(o)
		case "minimum_should_match":
			q.MinimumShouldMatch = p.minimumShouldMatch(o)
		case "adjust_pure_negative":
			p.only(o, "true")
		default:
			p.common(&f, o)
		}
	}
	return f.around(q)
}

func (p *parser) queries(o option) []Query {
	var queries []Query
	for _, item := range p.listOrOne(o) {
		queries = append(queries, p.query(item.node))
	}
	return queries
}

func (p *parser) constantScore(clause string, n node) Query {
	f, q := newFrame(), ConstantScore{}
	defer p.leave()
	if !p.enter(n.at) {
		return q
	}
	for _, o := range p.options(clause, n) {
		switch o.name {
		case "filter":
			q.Query = p.query(o.node)
		default:
			p.common(&f, o)
		}
	}
	if q.Query == nil {
		p.fail(n.at, ParsingException, "[%s] requires a 'filter' element", clause)
	}
	return f.around(q)
}
