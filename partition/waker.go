package partition

// Waker is told once that a partition it waits for has moved. It must not block.
type Waker interface{ Wake() }

// wakers is who waits for one position of a replica.
type wakers map[Waker]struct{}

// take removes and returns all of them.
func (w wakers) take() []Waker {
	if len(w) == 0 {
		return nil
	}
	taken := make([]Waker, 0, len(w))
	for one := range w {
		taken = append(taken, one)
	}
	clear(w)
	return taken
}

func wake(list []Waker) {
	for _, w := range list {
		w.Wake()
	}
}
