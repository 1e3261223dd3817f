package schema

import "bytes"

// addJSON adds the leaves of v. If v is no JSON it says so, and nothing was added or learned.
func (b *Builder) addJSON(v []byte) bool {
	before := b.mark()
	b.scanner.visitor = b
	b.scanner.all = b.value != none || b.mapping.config.Dynamic
	b.scanner.keepPath = b.mapping.config.Dynamic
	if b.scanner.scan(v, &b.root) {
		return true
	}
	b.rollback(before)
	return false
}

// leaf is called for each leaf by the scanner.
func (b *Builder) leaf(n *node, path []byte, kind leafKind, text []byte) {
	plan := none
	switch {
	case n != nil && n.isPath:
		plan = n.plan
	case b.mapping.config.Dynamic && len(path) > 0:
		plan = b.learnLeaf(path, kind, text)
	}
	start := len(b.buf)
	if b.value != none && kind != booleanLeaf {
		b.buf = append(b.buf, text...)
		b.addRange(b.value, start)
	}
	if plan != none {
		b.addLeaf(plan, kind, text)
	}
}

// learnLeaf finds or adds the field of a leaf that is not mapped. Its first value decides what it is.
func (b *Builder) learnLeaf(path []byte, kind leafKind, text []byte) int {
	if len(path) > maxPath { // before the next line, or many leaves under a long key take for ever
		b.skipped[BadName]++
		return none
	}
	if at, known := b.byPath[string(path)]; known && !bytes.HasPrefix(path, []byte(HeaderPrefix)) {
		return at
	}
	if string(path) == ValueField || checkPath(string(path)) != nil {
		b.skipped[BadName]++
		return none
	}
	return b.learn(path, kindOf(kind, text))
}

// kindOf is what a field becomes whose first value this is. A string with a whole date is one, as in
// Elasticsearch. A number is a double, as it is to most who write JSON: more values fit than whole numbers.
func kindOf(kind leafKind, text []byte) Kind {
	switch kind {
	case numberLeaf:
		return Double
	case booleanLeaf:
		return Boolean
	}
	if len(text) >= len("2026-01-31") && text[4] == '-' {
		if _, ok := parseDate(string(text)); ok {
			return Date
		}
	}
	return Keyword
}

// addLeaf adds text to plan, or counts why not. Strings may hold numbers, dates and booleans, and keywords
// and text may be written as any of these.
func (b *Builder) addLeaf(plan int, kind leafKind, text []byte) {
	switch b.plans[plan].Kind {
	case Keyword:
		if len(text) > MaxKeyword {
			b.skipped[TooLong]++
			return
		}
		b.addText(plan, text)
		return
	case Text:
		b.addText(plan, text)
		return
	case Long:
		if v, ok := parseWhole(string(text)); ok && kind != booleanLeaf {
			b.addDigits(plan, uint64(v)^signBit, wideDigits)
			return
		}
	case Double:
		if v, ok := parseDouble(string(text)); ok && kind != booleanLeaf {
			b.addDigits(plan, doubleBits(v), wideDigits)
			return
		}
	case Date:
		if ms, ok := parseDateLeaf(kind, text); ok {
			b.addDate(plan, ms)
			return
		}
	case Boolean:
		if kind != numberLeaf && (string(text) == "true" || string(text) == "false") {
			b.addText(plan, text)
			return
		}
	case IP:
		if a, ok := parseIP(string(text)); ok && kind == stringLeaf {
			b.addText(plan, []byte(IPTerm(a)))
			return
		}
	}
	b.skipped[WrongType]++
}

// parseDateLeaf takes a number for ms since 1970, also one of four digits and one with a fraction, which
// does not count.
func parseDateLeaf(kind leafKind, text []byte) (ms int64, ok bool) {
	if kind != numberLeaf {
		return parseDate(string(text))
	}
	d, ok := parseDecimal(string(text))
	ms, before, after := d.floor()
	return ms, ok && !before && !after
}

func (b *Builder) addText(plan int, text []byte) {
	start := len(b.buf)
	b.buf = append(b.buf, text...)
	b.addRange(plan, start)
}

// mark is a state of the builder to which rollback returns.
type mark struct {
	values, touched, learned int
	skipped                  Skipped
}

func (b *Builder) mark() mark {
	return mark{len(b.values), len(b.touched), b.learned, b.skipped}
}

func (b *Builder) rollback(to mark) {
	for _, v := range b.values[to.values:] {
		b.count[v.plan]--
	}
	b.values, b.touched, b.skipped = b.values[:to.values], b.touched[:to.touched], to.skipped
	for ; b.learned > to.learned; b.learned-- {
		last := len(b.plans) - 1
		delete(b.byPath, b.plans[last].Path)
		b.plans, b.count = b.plans[:last], b.count[:last]
	}
}

// beginsObject says whether v may be a JSON object.
func beginsObject(v []byte) bool {
	v = bytes.TrimLeft(v, " \t\r\n")
	return len(v) > 0 && v[0] == '{'
}
