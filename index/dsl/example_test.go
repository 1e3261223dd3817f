package dsl_test

import (
	"fmt"
	"net/url"
	"time"

	"github.com/chronik-stream/chronik/index/dsl"
)

func ExampleParseRequest() {
	now := time.Date(2026, 3, 14, 15, 0, 0, 0, time.UTC)
	values, _ := url.ParseQuery("q=error+AND+level:warn&df=msg&size=20&sort=_timestamp:desc&after=now-1h")
	search, err := dsl.ParseRequest(values, nil, dsl.DefaultLimits(), now)
	if err != nil {
		fmt.Println(err)
		return
	}
	within := search.Query.(dsl.Bool)
	for _, word := range within.Must[0].(dsl.Bool).Must {
		fmt.Println(word.(dsl.Match).Field, "has", word.(dsl.Match).Text)
	}
	from, _, _ := within.Filter[0].(dsl.Range).Dates(search.Now)
	fmt.Println("since", dsl.FormatDate(from, "", time.UTC))

	_, err = dsl.ParseRequest(nil, []byte(`{"query": {"geo_shape": {}}}`), dsl.DefaultLimits(), now)
	fmt.Println(err)
	// Output:
	// msg has error
	// level has warn
	// since 2026-03-14T14:00:00.000Z
	// parsing_exception: unknown query [geo_shape] (line 1, column 12)
}
