package config

// Layers are the broker configs by where they were set. Values that do not validate, which only another
// version can have written, count as not set. Nil maps are empty.
type Layers struct {
	Static         map[string]string // flags and the config file of this broker
	DynamicDefault map[string]string // altered for all brokers
	Dynamic        map[string]string // altered for this broker
}

// Setting is one place that gives a value.
type Setting struct {
	Name   string // the key that was set, perhaps a synonym
	Value  string // canonical, in the unit of the key asked for, even if the synonym counts hours
	Source Source

	sensitive bool
}

// Shown is the value as a client may see it: nil if it is sensitive.
func (s Setting) Shown() *string {
	if s.sensitive {
		return nil
	}
	return &s.Value
}

// Value is the effective value of one key.
type Value struct {
	*Key
	Value  string // canonical; "" if Null
	Null   bool   // nobody set it, and it has no default
	Source Source
	// Synonyms are all places that give a value, from most to least specific. The first is the effective
	// one. Empty if Null.
	Synonyms []Setting

	parsed value
}

// Shown is the value as a client may see it: nil if there is none or it is sensitive.
func (v Value) Shown() *string {
	if v.Null || v.Sensitive {
		return nil
	}
	return &v.Value
}

// Resolved is the effective configuration of one resource. It never changes.
type Resolved struct {
	schema *Schema
	values []Value // as schema.order
	index  map[string]int
}

// ResolveTopic gives the configuration of a topic: its own overrides, before what the broker sets.
func ResolveTopic(overrides map[string]string, b Layers) *Resolved {
	return resolveOverridden(Topic, SourceTopic, overrides, b)
}

// ResolveGroup is ResolveTopic for a group.
func ResolveGroup(overrides map[string]string, b Layers) *Resolved {
	return resolveOverridden(Group, SourceGroup, overrides, b)
}

func resolveOverridden(s *Schema, source Source, overrides map[string]string, b Layers) *Resolved {
	return s.resolve(func(k *Key) []Setting {
		settings := k.settingIn(overrides, source, k, Synonym{Name: k.Name}, nil)
		settings = b.settings(k, k.Synonyms, settings)
		if len(k.Synonyms) == 0 && k.HasDefault {
			settings = append(settings, Setting{k.Name, k.Default, SourceDefault, k.Sensitive})
		}
		return settings
	})
}

// ResolveBroker gives the configuration of the broker itself. As in Kafka, log.retention.ms stays null
// there while log.retention.hours decides; only topic configs see a family as one.
func ResolveBroker(b Layers) *Resolved {
	return Broker.resolve(func(k *Key) []Setting {
		settings := b.settings(k, append([]Synonym{{Name: k.Name}}, k.Synonyms...), nil)
		for len(settings) > 0 && settings[0].Name != k.Name {
			settings = settings[1:]
		}
		return settings
	})
}

func (s *Schema) resolve(settings func(*Key) []Setting) *Resolved {
	r := &Resolved{schema: s, values: make([]Value, len(s.order)), index: make(map[string]int, len(s.order))}
	for i, k := range s.order {
		v := Value{Key: k, Synonyms: settings(k), Source: SourceDefault}
		if v.Null = len(v.Synonyms) == 0; !v.Null {
			v.Value, v.Source = v.Synonyms[0].Value, v.Synonyms[0].Source
			v.parsed, _ = parse(k.Type, v.Value) // it was checked on its way here
		}
		r.values[i], r.index[k.Name] = v, i
	}
	return r
}

// settings appends what the layers and the built-in defaults give k under names. The layer counts before
// the name: what was altered for this broker wins over a static value of a more specific name.
func (b Layers) settings(k *Key, names []Synonym, to []Setting) []Setting {
	for _, layer := range []struct {
		values map[string]string
		source Source
	}{
		{b.Dynamic, SourceDynamicBroker}, {b.DynamicDefault, SourceDynamicDefault}, {b.Static, SourceStaticBroker},
	} {
		for _, name := range names {
			to = k.settingIn(layer.values, layer.source, Broker.keys[name.Name], name, to)
		}
	}
	for _, name := range names {
		if given := Broker.keys[name.Name]; given.HasDefault {
			v, _ := given.parse(given.Default)
			to = append(to, Setting{name.Name, name.convert(v), SourceDefault, k.Sensitive})
		}
	}
	return to
}

// settingIn appends the value that values has for given, a synonym of k or k itself, if it is usable.
func (k *Key) settingIn(values map[string]string, source Source, given *Key, name Synonym, to []Setting) []Setting {
	raw, ok := values[given.Name]
	if !ok {
		return to
	}
	v, err := given.parse(raw)
	if err != nil {
		return to
	}
	text := name.convert(v)
	if k.Validate(text) != nil {
		return to
	}
	return append(to, Setting{name.Name, text, source, k.Sensitive})
}

// Values lists all keys by name. The slice is shared: do not modify it.
func (r *Resolved) Values() []Value { return r.values }

// Get finds one key.
func (r *Resolved) Get(name string) (Value, bool) {
	i, ok := r.index[name]
	if !ok {
		return Value{}, false
	}
	return r.values[i], true
}

// DynamicDefaults lists what was altered for all brokers, and nothing else: what DescribeConfigs tells of
// the broker with the empty name.
func DynamicDefaults(altered map[string]string) []Value {
	var values []Value
	for _, v := range ResolveBroker(Layers{DynamicDefault: altered}).values {
		if v.Source == SourceDynamicDefault {
			v.Synonyms = v.Synonyms[:1]
			values = append(values, v)
		}
	}
	return values
}
