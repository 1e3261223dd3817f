package main

import (
	"fmt"
	"strings"
	"text/template"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// completions maps each command path, "" being the bare program, to what may follow it.
func completions(app *kong.Application) map[string][]string {
	words := map[string][]string{}
	var walk func(node *kong.Node, path string)
	walk = func(node *kong.Node, path string) {
		words[path] = nil
		for _, child := range node.Children {
			if child.Type == kong.CommandNode && !child.Hidden {
				words[path] = append(words[path], child.Name)
				walk(child, strings.TrimSpace(path+" "+child.Name))
			}
		}
		for _, group := range node.AllFlags(true) {
			for _, flag := range group {
				words[path] = append(words[path], "--"+flag.Name)
			}
		}
	}
	walk(app.Node, "")
	return words
}

// scripts hold the words of every command path; which path applies is read off the command line.
var scripts = map[string]string{
	"bash": `_chronik() {
  local path="" word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    [[ $word == -* ]] || path="${path:+$path }$word"
  done
  case "$path" in
{{- range $path, $words := .}}
    "{{$path}}") COMPREPLY=($(compgen -W "{{join $words}}" -- "${COMP_WORDS[COMP_CWORD]}")) ;;
{{- end}}
  esac
}
complete -o default -F _chronik chronik
`,
	"zsh": `#compdef chronik
_chronik() {
  local path="" word
  for word in ${words[2,CURRENT-1]}; do
    [[ $word == -* ]] || path="${path:+$path }$word"
  done
  case "$path" in
{{- range $path, $words := .}}
    "{{$path}}") compadd -- {{join $words}} ;;
{{- end}}
    *) _files ;;
  esac
}
compdef _chronik chronik
`,
	"fish": `function __chronik_path
  set -l path
  for word in (commandline -opc)[2..]
    string match -q -- '-*' $word; or set -a path $word
  end
  echo $path
end
{{- range $path, $words := .}}
complete -c chronik -n 'test (__chronik_path) = "{{$path}}"' -a '{{join $words}}'
{{- end}}
`,
}

func (c *completionCmd) Run(a *app) error {
	script, err := template.New(c.Shell).Funcs(template.FuncMap{
		"join": func(words []string) string { return strings.Join(words, " ") },
	}).Parse(scripts[c.Shell])
	if err != nil {
		return fmt.Errorf("completion script: %w", err)
	}
	return script.Execute(a.stdout, completions(a.model))
}
