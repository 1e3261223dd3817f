package cluster

import "testing"

func TestThreeNodesFormOneCluster(t *testing.T) {
	hosts := startAll(t, 3, newPlace(t, 3), newPlace(t, 1), newPlace(t, 2))
	oneCluster(t, hosts...)
	members, err := hosts[0].meta.Members()
	if err != nil || len(members) != 3 {
		t.Fatalf("members = %v, %v", members, err)
	}
	activate(t, hosts...)
}
