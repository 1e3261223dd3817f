package record

// upConvert makes one batch of magic 2 of a produced message set: its records in their order, with
// offsets from 0, and in the set's own codec unless the topic asks for another.
func upConvert(set []byte, rules Rules) (Validated, error) {
	codec, err := rules.legacyCodec(set)
	if err != nil {
		return Validated{}, err
	}
	spec := Spec{Codec: codec, LogAppendTime: rules.LogAppendTime, AppendTime: rules.Now}
	if rules.ForceCodec {
		spec.Codec, spec.Level = rules.Codec, rules.Level
	}
	builder := builders.Get().(*Builder)
	defer releaseBuilder(builder)
	builder.Reset(spec)
	if err := rules.addLegacy(builder, set); err != nil {
		return Validated{}, err
	}
	b, err := builder.Build(nil)
	if err != nil {
		return Validated{}, refuseRecords(err)
	}
	if len(b) > rules.MaxMessageBytes {
		return Validated{}, refuse(ErrTooLarge, "batch of %d bytes in magic 2, the topic allows %d", len(b), rules.MaxMessageBytes)
	}
	v := Validated{Batch: b, Count: int32(builder.Count()), MaxTimestamp: Batch(b).MaxTimestamp(), AppendTime: NoTimestamp}
	if rules.LogAppendTime {
		v.AppendTime = rules.Now
	}
	return v, nil
}

// legacyCodec holds the entries, unopened, against the rules for them, and returns the codec of the
// last that has one.
func (r Rules) legacyCodec(set []byte) (Codec, error) {
	codec := None
	for {
		raw, rest, err := nextEntry(set)
		switch {
		case err != nil:
			return None, err
		case raw == nil:
			return codec, nil
		case len(raw) > r.MaxMessageBytes:
			return None, refuse(ErrTooLarge, "message of %d bytes, the topic allows %d", len(raw), r.MaxMessageBytes)
		case raw[posMagic] == 1 && raw[posLegacyAttributes]&attrLogAppendTime != 0:
			return None, refuse(ErrTimestamp, "producers cannot set the timestamp type LogAppendTime")
		}
		if c := Codec(raw[posLegacyAttributes] & attrCodecMask); c != None {
			codec = c
		}
		set = rest
	}
}

// addLegacy adds the set's records to the builder, if none of them breaks a rule. The builder holds
// no more than the limit that compressed entries have among them, and the set itself.
func (r Rules) addLegacy(builder *Builder, set []byte) error {
	noKey := refuse(ErrInvalid, "one or more records have no key, which a compacted topic needs")
	badTime := refuse(ErrTimestamp, "one or more timestamps are outside the range that the topic allows")
	index := 0
	err := EachLegacy(set, r.Limits, func(rec *Record) error {
		if r.Compacted && rec.Key == nil {
			noKey.blame(index, "a compacted topic does not accept a record without a key")
		}
		r.blameTime(badTime, index, rec.Timestamp)
		rec.Offset, rec.Attributes = int64(index), 0
		index++
		return builder.Add(rec)
	})
	switch {
	case err != nil:
		return refuseSet(err)
	case len(noKey.RecordErrors) > 0:
		return noKey
	case len(badTime.RecordErrors) > 0:
		return badTime
	}
	return nil
}
