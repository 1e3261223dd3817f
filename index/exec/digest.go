package exec

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/chronik-stream/chronik/index/dsl"
)

// digest is a t-digest: it keeps clusters of numbers, small ones at both ends and large ones in the middle, so that
// the outer percentiles are the most exact. Up to compression numbers it keeps each of them.
//
// Dunning, Ertl: Computing Extremely Accurate Quantiles Using t-Digests (the merging variant, scale function k1).
type digest struct {
	compression float64
	clusters    []cluster // sorted by mean, then pending ones
	settled     int       // how many are sorted and as few as they should be
	min, max    float64
}

type cluster struct {
	mean   float64
	weight float64
}

func newDigest(compression float64) *digest {
	return &digest{compression: compression, min: math.Inf(1), max: math.Inf(-1)}
}

func (d *digest) add(v, weight float64) {
	d.clusters = append(d.clusters, cluster{v, weight})
	d.min, d.max = min(d.min, v), max(d.max, v)
	if len(d.clusters)-d.settled > 5*int(d.compression) {
		d.settle()
	}
}

func (d *digest) merge(o *digest) {
	d.clusters = append(d.clusters, o.clusters...)
	d.min, d.max = min(d.min, o.min), max(d.max, o.max)
	if len(d.clusters)-d.settled > 5*int(d.compression) {
		d.settle()
	}
}

// settle sorts the clusters and joins neighbours, as long as a cluster stays within one step of the scale.
func (d *digest) settle() {
	slices.SortFunc(d.clusters, func(a, b cluster) int { return cmp.Or(cmp.Compare(a.mean, b.mean), cmp.Compare(a.weight, b.weight)) })
	if float64(len(d.clusters)) > d.compression {
		d.join()
	}
	d.settled = len(d.clusters)
}

func (d *digest) join() {
	total := 0.0
	for _, c := range d.clusters {
		total += c.weight
	}
	joined := d.clusters[:1]
	before := 0.0 // weight in front of the last of joined
	for _, c := range d.clusters[1:] {
		last := &joined[len(joined)-1]
		if d.scale((before+last.weight+c.weight)/total)-d.scale(before/total) <= 1 {
			last.weight += c.weight
			last.mean += (c.mean - last.mean) * c.weight / last.weight
			continue
		}
		before += last.weight
		joined = append(joined, c)
	}
	d.clusters = joined
}

func (d *digest) scale(q float64) float64 {
	return d.compression / (2 * math.Pi) * math.Asin(2*min(q, 1)-1)
}

// quantile estimates the number below which q of all lie, NaN if there are none: a line from the middle of one
// cluster to that of the next, and to the least and the greatest number at the ends.
func (d *digest) quantile(q float64) float64 {
	d.settle()
	switch len(d.clusters) {
	case 0:
		return math.NaN()
	case 1:
		return d.clusters[0].mean
	}
	total := 0.0
	for _, c := range d.clusters {
		total += c.weight
	}
	rank := q * total
	at, value := 0.0, d.min // where the last middle was
	seen := 0.0
	for _, c := range d.clusters {
		middle := seen + c.weight/2
		if rank < middle {
			return between(value, c.mean, (rank-at)/(middle-at))
		}
		at, value = middle, c.mean
		seen += c.weight
	}
	if at == total {
		return d.max
	}
	return between(value, d.max, (rank-at)/(total-at))
}

func between(a, b, part float64) float64 { return a + (b-a)*part }

// percentOf is the percentile that an order names, like 95 or 95.0.
func percentOf(a dsl.PercentilesAgg, metric string) float64 {
	percent, err := strconv.ParseFloat(metric, 64)
	if err != nil && len(a.Percents) > 0 {
		return a.Percents[0]
	}
	return percent
}
