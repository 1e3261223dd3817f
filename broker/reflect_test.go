package broker

import "reflect"

// walkErrorCodes visits every field called ErrorCode in a response, however deep.
func walkErrorCodes(v any, visit func(code int16)) { walkValue(reflect.ValueOf(v), visit) }

func walkValue(v reflect.Value, visit func(code int16)) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			walkValue(v.Elem(), visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			walkValue(v.Index(i), visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			switch field := v.Type().Field(i); {
			case field.Name == "ErrorCode":
				visit(int16(v.Field(i).Int()))
			case field.IsExported():
				walkValue(v.Field(i), visit)
			}
		}
	}
}
