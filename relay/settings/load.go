package settings

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/caarlos0/env/v11"
)

// Load fills the struct that dst points to from environ, whose entries are
// NAME=value as [os.Environ] has them. Its error names every variable that is
// missing or does not parse, and the mend.
func Load(dst any, environ []string) error {
	vars := env.ToMap(environ)
	err := env.ParseWithOptions(dst, env.Options{Prefix: Prefix, Environment: vars})
	if err == nil {
		return nil
	}
	all := env.AggregateError{Errors: []error{err}}
	errors.As(err, &all)
	var told []error
	for _, err := range all.Errors {
		told = append(told, explain(variables(dst), vars, err))
	}
	return errors.Join(told...)
}

// explain says in the words of the environment what the library says in those
// of the struct.
func explain(all []variable, vars map[string]string, err error) error {
	var unset env.VarIsNotSetError
	var empty env.EmptyVarError
	var parse env.ParseError
	switch {
	case errors.As(err, &unset):
		return missing(all, unset.Key)
	case errors.As(err, &empty):
		return missing(all, empty.Key)
	case errors.As(err, &parse):
		for _, v := range all {
			if v.field == parse.Name {
				return fmt.Errorf("%s=%s: %w", v.name, vars[v.name], v.mend(parse.Err))
			}
		}
	}
	return err
}

func missing(all []variable, name string) error {
	for _, v := range all {
		if v.name == name {
			return fmt.Errorf("%s must be set: %s", name, v.help)
		}
	}
	return fmt.Errorf("%s must be set", name)
}

// mend says what the variable's value should look like.
func (v *variable) mend(parse error) error {
	if v.typ == reflect.TypeFor[time.Duration]() {
		return errors.New("must be a duration, such as 10s, 5m or 168h")
	}
	switch v.typ.Kind() {
	case reflect.Bool:
		return errors.New("must be true or false")
	case reflect.Int, reflect.Int64:
		if v.typ.PkgPath() == "" {
			return errors.New("must be a whole number")
		}
	case reflect.Float64:
		return errors.New("must be a number")
	}
	return parse
}

// A variable is one field of a config struct.
type variable struct {
	name     string // with its prefix
	field    string
	typ      reflect.Type
	required bool
	fallback string // its default
	help     string
}

// variables lists the fields of the struct that dst points to, in order.
func variables(dst any) []variable {
	var all []variable
	t := reflect.TypeOf(dst).Elem()
	for i := range t.NumField() {
		f := t.Field(i)
		tag, ok := f.Tag.Lookup("env")
		if !ok {
			continue
		}
		name, required := parseTag(tag)
		all = append(all, variable{
			name: Prefix + name, field: f.Name, typ: f.Type, required: required,
			fallback: f.Tag.Get("envDefault"), help: f.Tag.Get("help"),
		})
	}
	return all
}
