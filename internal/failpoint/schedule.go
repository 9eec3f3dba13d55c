package failpoint

import "fmt"

// Schedule lets several processes work at once in one order of all those possible: each stops at every failpoint until it is let
// go on, and only one goes at a time. The same choices make the same run.
type Schedule struct {
	// Choose says which worker goes on to its next failpoint, or to its end. standing holds, by worker, all that have not ended; it is
	// the caller's to keep. Nobody works meanwhile, so Choose may move a clock, or arm or kill a Process, which then meets its fate
	// as soon as it is let go on. A dead process stops at failpoints too, and has to be let go on until its work returns.
	Choose func(standing []Standing) (worker int)
}

// Standing is a worker at a failpoint whose effect has not happened yet.
type Standing struct {
	Worker int    // its index in Run's works
	Point  string // as the gate was given it
}

// arrival is where a worker got to: a failpoint, or its end.
type arrival struct {
	Standing
	ended bool
	err   error
}

// Run runs the works to their ends and returns their errors. Each is given the gate that its processes must have, and may stop there
// itself under any other name. Before Choose is asked for the first time each work, in order, runs up to where it first stops. What passes a
// failpoint in a work must be one goroutine at a time, and none may be left when it returns; Run panics when it sees that two were at it,
// or when Choose names a worker that does not stand.
func (s *Schedule) Run(works []func(gate func(point string)) error) []error {
	errs := make([]error, len(works))
	arrived := make(chan arrival)
	leave := make([]chan struct{}, len(works)) // by worker: it may go on
	stands := make([]*Standing, len(works))    // by worker; nil: it has ended
	// await waits for the one worker that goes.
	await := func(worker int) {
		a := <-arrived
		if a.Worker != worker {
			panic(fmt.Sprintf("failpoint: worker %d came to %q while worker %d was let go on: two goroutines of it work at once", a.Worker, a.Point, worker))
		}
		if stands[worker] = &a.Standing; a.ended {
			stands[worker], errs[worker] = nil, a.err
		}
	}
	for i, work := range works {
		leave[i] = make(chan struct{})
		go func() {
			err := work(func(point string) {
				arrived <- arrival{Standing: Standing{i, point}}
				<-leave[i]
			})
			arrived <- arrival{Standing: Standing{i, "its end"}, ended: true, err: err}
		}()
		await(i)
	}
	for {
		var standing []Standing
		for _, st := range stands {
			if st != nil {
				standing = append(standing, *st)
			}
		}
		if len(standing) == 0 {
			return errs
		}
		i := s.Choose(standing)
		if i < 0 || i >= len(stands) || stands[i] == nil {
			panic(fmt.Sprintf("failpoint: worker %d was chosen, which does not stand at a failpoint", i))
		}
		leave[i] <- struct{}{}
		await(i)
	}
}
