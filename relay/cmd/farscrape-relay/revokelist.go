package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// listRevoked prints what is taken back: in Redis, and by the file.
func (c *revokeConfig) listRevoked(ctx context.Context, stdout io.Writer) error {
	table := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "TENANT\tKIND\tSUBJECT\tBEFORE\tMADE")
	if c.hasRedis() {
		r, err := c.revoker()
		if err != nil {
			return err
		}
		defer r.Close()
		all, err := r.List(ctx)
		if err != nil {
			return err
		}
		for _, of := range all {
			if of.Holds() {
				listOne(table, of, time.UnixMilli(of.Made).UTC().Format(time.RFC3339))
			}
		}
	}
	if c.RevokedFile != "" {
		set, err := readRevoked(c.RevokedFile)
		if err != nil {
			return err
		}
		for _, of := range set.All() {
			listOne(table, of, "in "+c.RevokedFile)
		}
	}
	return table.Flush()
}

func listOne(table io.Writer, r wire.Revocation, made string) {
	tenant := r.Tenant
	if r.Kind == wire.RevokedToken {
		tenant = "-"
	}
	fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", tenant, r.Kind, r.Name, r.BeforeText(), made)
}
