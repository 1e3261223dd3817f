package raftmeta

// The encoded forms of what the table holds, shared by commands, snapshots and the state hash. A
// field is added at the end, under a new version of every command and snapshot that holds the type.

func topicFields(c *coder, t *Topic) {
	c.id(&t.ID)
	c.string(&t.Tenant, maxTenant)
	c.name(&t.Name)
	c.strings(&t.Config)
	list(c, &t.Partitions, 11, partitionFields)
}

func partitionFields(c *coder, p *Partition) {
	c.int32s(&p.Replicas)
	c.int32s(&p.Adding)
	c.int32s(&p.Removing)
	c.int32s(&p.ISR)
	c.int32s(&p.ELR)
	c.int32s(&p.LastKnownELR)
	c.int32(&p.Leader)
	c.int32(&p.LeaderEpoch)
	c.int32(&p.PartitionEpoch)
	c.int32(&p.UncleanEpoch)
	c.bool(&p.Recovering)
}

func tombstoneFields(c *coder, t *Tombstone) {
	c.id(&t.ID)
	c.string(&t.Tenant, maxTenant)
	c.name(&t.Name)
	c.int32(&t.Partitions)
	c.int32s(&t.Pending)
}

func brokerFields(c *coder, b *Broker) {
	c.int32(&b.ID)
	c.int64(&b.Epoch)
	c.id(&b.Incarnation)
	c.ids(&b.StorageIDs)
	c.name(&b.KafkaHost)
	c.int32(&b.KafkaPort)
	c.name(&b.PeerAddress)
	c.name(&b.Rack)
	state := byte(b.State)
	c.byte(&state)
	if c.decoding { // what is encoded is shared, and read meanwhile
		if c.err == nil && state > byte(ShuttingDown) {
			c.corrupt("broker state %d", state)
		}
		b.State = BrokerState(state)
	}
	c.bool(&b.Draining)
}

func configFields(c *coder, key *ConfigKey, values *map[string]string) {
	resourceFields(c, &key.Type)
	c.name(&key.Name)
	c.strings(values)
}

func resourceFields(c *coder, t *ResourceType) {
	b := byte(*t)
	c.byte(&b)
	*t = ResourceType(b)
}

func groupFields(c *coder, g *Group) {
	c.string(&g.Tenant, maxTenant)
	c.name(&g.ID)
	c.int32(&g.Generation)
	c.name(&g.ProtocolType)
	c.name(&g.Protocol)
	c.name(&g.Leader)
	list(c, &g.Members, 8, memberFields)
	c.int64(&g.EmptySince)
}

func memberFields(c *coder, m *GroupMember) {
	c.name(&m.ID)
	c.name(&m.InstanceID)
	c.name(&m.ClientID)
	c.name(&m.ClientHost)
	c.int32(&m.SessionTimeout)
	c.int32(&m.RebalanceTimeout)
	list(c, &m.Protocols, 2, func(c *coder, p *GroupProtocol) {
		c.name(&p.Name)
		c.bytes(&p.Metadata)
	})
	c.bytes(&m.Assignment)
}

func offsetFields(c *coder, o *CommittedOffset) {
	c.id(&o.TopicID)
	c.int32(&o.Partition)
	c.int64(&o.Offset)
	c.int32(&o.LeaderEpoch)
	c.string(&o.Metadata, maxBlob)
	c.int64(&o.CommittedAt)
	c.int64(&o.ExpiresAt)
}
