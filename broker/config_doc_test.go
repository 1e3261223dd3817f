package broker

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/internal/config"
)

// TestConfigTablesInDocs holds docs/configuration.md to the schemas.
func TestConfigTablesInDocs(t *testing.T) {
	path := filepath.Join("..", "docs", "configuration.md")
	topic, broker := splitKeys(config.Topic), splitKeys(config.Broker)
	holdGenerated(t, path, "topic-configs", topicTable(topic.acting))
	holdGenerated(t, path, "topic-configs-fixed", fixedTable(topic.fixed))
	holdGenerated(t, path, "broker-configs", brokerTable(broker.acting))
	holdGenerated(t, path, "broker-configs-flags", flagTable(broker.byFlag))
	holdGenerated(t, path, "broker-configs-fixed", fixedTable(broker.fixed))
	holdGenerated(t, path, "group-configs", fixedTable(splitKeys(config.Group).fixed))
}

// keySets are the keys of a schema by what may be done with them.
type keySets struct{ acting, byFlag, fixed []*config.Key }

func splitKeys(s *config.Schema) (sets keySets) {
	for _, k := range s.Keys() {
		switch {
		case k.Flag != "":
			sets.byFlag = append(sets.byFlag, k)
		case k.HasDefault && k.Valid == "["+k.Default+"]":
			sets.fixed = append(sets.fixed, k)
		default:
			sets.acting = append(sets.acting, k)
		}
	}
	return sets
}

func topicTable(keys []*config.Key) string {
	var out strings.Builder
	out.WriteString("| key | type | default | takes | broker keys that give the default | meaning |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, k := range keys {
		var from []string
		for _, s := range k.Synonyms {
			from = append(from, code(s.Name))
		}
		fmt.Fprintf(&out, "| %s | %v | %s | %s | %s | %s |\n", code(k.Name), k.Type, defaultOf(k), code(k.Valid), strings.Join(from, ", "), cellText(k.Doc))
	}
	return out.String()
}

func brokerTable(keys []*config.Key) string {
	var out strings.Builder
	out.WriteString("| key | type | default | takes | while it runs | meaning |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, k := range keys {
		alter := "can be altered"
		switch {
		case k.ReadOnly:
			alter = "fixed at start"
		case k.PerBroker:
			alter = "can be altered, for one broker"
		}
		fmt.Fprintf(&out, "| %s | %v | %s | %s | %s | %s |\n", code(k.Name), k.Type, defaultOf(k), code(k.Valid), alter, cellText(k.Doc))
	}
	return out.String()
}

func flagTable(keys []*config.Key) string {
	var out strings.Builder
	out.WriteString("| key | flag | meaning |\n| --- | --- | --- |\n")
	for _, k := range keys {
		fmt.Fprintf(&out, "| %s | %s | %s |\n", code(k.Name), code(k.Flag), cellText(k.Doc))
	}
	return out.String()
}

// fixedTable asks the key itself why it takes no other value.
func fixedTable(keys []*config.Key) string {
	var out strings.Builder
	out.WriteString("| key | only value | why | meaning in Kafka |\n| --- | --- | --- | --- |\n")
	for _, k := range keys {
		_, why, _ := strings.Cut(k.Validate("\x00").Error(), `only "`+k.Default+`": `)
		fmt.Fprintf(&out, "| %s | %s | %s | %s |\n", code(k.Name), defaultOf(k), cellText(why), cellText(k.Doc))
	}
	return out.String()
}

func defaultOf(k *config.Key) string {
	switch {
	case !k.HasDefault:
		return "none"
	case k.Default == "":
		return "empty"
	}
	return code(k.Default)
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func cellText(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
