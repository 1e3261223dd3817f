// Package config holds Kafka's config schemas as Chronik serves them: which keys a topic, a broker and a
// group have, what values they take, and where an effective value comes from.
//
// One rule orders the tables: a config that is accepted acts, and an unknown one is refused. A key whose
// feature Chronik lacks is there, so that tools can read it, but takes no value except the one that
// asks for nothing (remote.storage.enable=false). So nobody is told "yes" and then ignored.
//
// Values travel as strings in Kafka's notation. Everything here is a pure function of its arguments; the
// schemas are built once and never change, so all of it may be used from several goroutines.
package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Type is a config's type, numbered as in DescribeConfigs v3+.
type Type int8

// The types of Kafka's ConfigDef.
const (
	TypeBoolean  Type = 1
	TypeString   Type = 2
	TypeInt      Type = 3 // 32 bits
	TypeShort    Type = 4 // 16 bits
	TypeLong     Type = 5 // 64 bits
	TypeDouble   Type = 6
	TypeList     Type = 7 // comma-separated
	TypeClass    Type = 8
	TypePassword Type = 9
)

func (t Type) String() string {
	names := [...]string{
		TypeBoolean: "boolean", TypeString: "string", TypeInt: "int", TypeShort: "short", TypeLong: "long",
		TypeDouble: "double", TypeList: "list", TypeClass: "class", TypePassword: "password",
	}
	if t > 0 && int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("Type(%d)", int8(t))
}

// Source says where a value comes from, numbered as in DescribeConfigs v1+.
type Source int8

// The sources Chronik has, from most to least specific for one resource.
const (
	SourceTopic          Source = 1
	SourceDynamicBroker  Source = 2 // altered for one broker
	SourceDynamicDefault Source = 3 // altered for all brokers
	SourceStaticBroker   Source = 4 // flags and the config file
	SourceDefault        Source = 5
	SourceGroup          Source = 8
)

// Key is one config. Keys are shared: do not modify them.
type Key struct {
	Name       string
	Type       Type
	Default    string // canonical; "" if HasDefault is false
	HasDefault bool   // false: the value is null until somebody sets one
	Doc        string
	Valid      string // what Validate accepts, for people: "[-1,...]", "[delete, compact]"
	Sensitive  bool   // never shown, not in errors either
	ReadOnly   bool   // cannot be altered while the broker runs; only broker keys
	PerBroker  bool   // can be altered for one broker only, and not set at start; only broker keys
	// Flag names the command-line flag that decides this key. The broker reports it as a static value;
	// nobody may set it by its name.
	Flag string
	// Synonyms are the broker keys that give the value if this key itself is not set, from most to least
	// specific.
	Synonyms []Synonym

	accept      func(value) bool // nil accepts what parses
	unsupported string           // why only Default is accepted; "" if other values are
}

// Validate tells whether raw is a value of this key. The error is an *InvalidError.
func (k *Key) Validate(raw string) error {
	_, err := k.parse(raw)
	return err
}

// parse reads raw and checks it. What it returns on an error is unusable.
func (k *Key) parse(raw string) (value, error) {
	v, err := parse(k.Type, raw)
	if err == nil && (k.accept == nil || k.accept(v)) {
		return v, nil
	}
	return value{}, &InvalidError{Key: k, Value: raw}
}

// InvalidError says which value a config does not take. It is the client's mistake (INVALID_CONFIG).
type InvalidError struct {
	Key   *Key
	Value string
}

// maxShown bounds how much of a client's value an error repeats.
const maxShown = 100

func (e *InvalidError) Error() string {
	shown := fmt.Sprintf("%.*q", maxShown, e.Value)
	if e.Key.Sensitive {
		shown = "(hidden)"
	}
	if e.Key.unsupported != "" {
		return fmt.Sprintf("config %s: value %s is not supported, only %q: %s", e.Key.Name, shown, e.Key.Default, e.Key.unsupported)
	}
	if e.Key.Valid == "" {
		return fmt.Sprintf("config %s: invalid value %s: want a %s", e.Key.Name, shown, e.Key.Type)
	}
	return fmt.Sprintf("config %s: invalid value %s: want a %s in %s", e.Key.Name, shown, e.Key.Type, e.Key.Valid)
}

// ErrUnknownKey is a config that the schema does not have (INVALID_CONFIG).
var ErrUnknownKey = errors.New("unknown config")

// Schema is the configs of one kind of resource.
type Schema struct {
	kind  string // "topic", "broker", "group"
	keys  map[string]*Key
	order []*Key // by name
	cross []crossRule
}

// Schemas of the resources that have configs.
var (
	Topic  = newSchema("topic", topicKeys(), compactionLags("min.compaction.lag.ms", "max.compaction.lag.ms"))
	Broker = newSchema("broker", brokerKeys(Topic),
		compactionLags("log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
		sessionTimeouts, sameNodeID)
	Group = newSchema("group", groupKeys())
)

// newSchema panics on a table that contradicts itself; that is seen when the package is loaded.
func newSchema(kind string, keys []*Key, cross ...crossRule) *Schema {
	s := &Schema{kind: kind, keys: make(map[string]*Key, len(keys)), cross: cross}
	for _, k := range keys {
		if s.keys[k.Name] != nil {
			panic("config: two keys " + k.Name)
		}
		s.keys[k.Name] = k
	}
	for _, name := range slices.Sorted(maps.Keys(s.keys)) {
		s.order = append(s.order, s.keys[name])
	}
	return s
}

// Lookup finds a key by its name.
func (s *Schema) Lookup(name string) (*Key, bool) {
	k, ok := s.keys[name]
	return k, ok
}

// Keys lists all keys by name. The slice belongs to the caller.
func (s *Schema) Keys() []*Key { return slices.Clone(s.order) }

// Validate checks one value. The error is an *InvalidError or wraps ErrUnknownKey.
func (s *Schema) Validate(name, raw string) error {
	k, ok := s.keys[name]
	if !ok {
		return fmt.Errorf("%w for a %s: %.*q", ErrUnknownKey, s.kind, maxShown, name)
	}
	return k.Validate(raw)
}

// ValidateAll checks values one by one, and, if each is good, against each other; what is not given
// counts with its default. It reports every mistake, ordered by key.
func (s *Schema) ValidateAll(values map[string]string) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		errs = append(errs, s.Validate(name, values[name]))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return s.validateCross(func(name string) (string, bool) {
		if raw, ok := values[name]; ok {
			return raw, true
		}
		return s.keys[name].Default, s.keys[name].HasDefault
	})
}

// ValidateStatic is ValidateAll for values that an operator set by name (--set): it also refuses the
// keys that a flag decides, and those that are no setting of a process.
func (s *Schema) ValidateStatic(values map[string]string) error {
	errs := []error{s.ValidateAll(values)}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch k := s.keys[name]; {
		case k == nil:
		case k.Flag != "":
			errs = append(errs, fmt.Errorf("config %s: cannot be set by name, use %s", name, k.Flag))
		case k.PerBroker:
			errs = append(errs, fmt.Errorf("config %s: cannot be set at start, alter it for the broker while the cluster runs", name))
		}
	}
	return errors.Join(errs...)
}
