package main

import (
	"errors"
	"fmt"

	"github.com/chronik-stream/chronik/broker"
)

type clusterRecoverCmd struct {
	DataDir string `required:"" help:"Data directory of the node, which must be stopped." placeholder:"DIR" env:"-"`
	Rejoin  bool   `help:"For the other nodes, after one was recovered: forget the metadata, keep the partitions, and join it at the next start." env:"-"`
	Yes     bool   `help:"Do it. Without this flag it only shows what the node knows." env:"-"`
}

// Run shows a node's share of the lost quorum, so that the survivor that knows most can be chosen, and makes
// it the only one on request.
func (c *clusterRecoverCmd) Run(a *app) error {
	left, err := broker.ExamineMetadata(c.DataDir)
	if err != nil {
		return err
	}
	if err := c.print(a, left); err != nil {
		return err
	}
	switch {
	case c.Yes && c.Rejoin:
		return c.rejoin(a, left)
	case !c.Yes:
		return errors.New("nothing was changed. On the survivor with the largest term, and among those the largest index, and only there, add --yes. " +
			"The other nodes must never start again with the metadata log that they have")
	}
	if err := broker.RecoverMetadata(c.DataDir); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "Node %d is the whole cluster now: start it. Any other node needs `chronik cluster recover --rejoin` on its directory before it starts.\n", left.NodeID)
	return nil
}

func (c *clusterRecoverCmd) rejoin(a *app, left broker.Remains) error {
	if err := broker.ForgetMetadata(c.DataDir); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "Node %d has forgotten the metadata. Start it with --join and the gossip address of the recovered node.\n", left.NodeID)
	return nil
}

func (c *clusterRecoverCmd) print(a *app, left broker.Remains) error {
	if a.json {
		members := []string{}
		for _, m := range left.Members {
			members = append(members, m.ID)
		}
		return a.printJSON(map[string]any{
			"cluster": left.ClusterID, "node": left.NodeID, "last_term": left.LastTerm, "last_index": left.LastIndex,
			"server": left.ServerID, "members": members, "recovered": c.Yes,
		})
	}
	fmt.Fprintf(a.stdout, "Cluster:  %s\nNode:     %d\nTerm:     %d\nIndex:    %d\n\n", left.ClusterID, left.NodeID, left.LastTerm, left.LastIndex)
	t := newTable("SERVER", "ADDRESS", "VOTER", "")
	for _, m := range left.Members {
		voter, self := "no", ""
		if m.Voter {
			voter = "yes"
		}
		if m.ID == left.ServerID {
			self = "this node"
		}
		t.add(m.ID, m.Address, voter, self)
	}
	return a.printTable(t)
}
