package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// healthCmd is what a container's health check runs: an image without a shell has nothing else to ask with.
type healthCmd struct {
	HTTP    string        `name:"http" default:"http://127.0.0.1:6092" help:"HTTP address of the node." placeholder:"URL"`
	Timeout time.Duration `default:"2s" help:"How long to wait for an answer."`
}

func (c *healthCmd) Run(a *app) error {
	ctx, cancel := context.WithTimeout(a.ctx, c.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.HTTP, "/")+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // what could be read of it will do
		return fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	_, err = fmt.Fprintln(a.stdout, "ok")
	return err
}
