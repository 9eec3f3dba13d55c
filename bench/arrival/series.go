package main

import (
	"fmt"
	"slices"
	"time"
)

// reader is what mails arrive for: it says when it has one in hand.
type reader interface {
	// await returns when the mail of this Message-ID was in hand.
	await(id string) (time.Time, error)
}

// series are the times of mails: from the moment the server has one, by its answer to APPEND, and from the moment the server tells an
// idling client of it (EXISTS on a connection that does nothing else).
type series struct {
	appended, told times
	words          []time.Time // when the server told of each
	all            time.Duration
}

// measure lets n mails arrive one after the other without waiting, and waits for all.
func (s *series) measure(in *post, r reader, n int) error {
	start := time.Now()
	mails := make([]posted, n)
	for i := range mails {
		var err error
		if mails[i], err = in.send(); err != nil {
			return err
		}
	}
	var last time.Time
	for _, m := range mails {
		had, err := r.await(m.id)
		if err != nil {
			return err
		}
		word, err := in.word(m.count)
		if err != nil {
			return err
		}
		s.appended = append(s.appended, had.Sub(m.filed))
		s.told = append(s.told, had.Sub(word))
		s.words = append(s.words, word)
		if had.After(last) {
			last = had
		}
	}
	s.all += last.Sub(start)
	return nil
}

type times []time.Duration

// at is the percentile p by nearest rank.
func (t times) at(p int) time.Duration {
	s := slices.Sorted(slices.Values(t))
	return s[max(0, (len(s)*p+99)/100-1)]
}

func (t times) mean() time.Duration {
	var sum time.Duration
	for _, d := range t {
		sum += d
	}
	return sum / time.Duration(len(t))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func compare(ours, plain *series) {
	fmt.Printf("  %-44s %9s %9s %9s\n", "milliseconds", "p50", "p95", "max")
	line := func(name string, t times) {
		fmt.Printf("  %-44s %9.1f %9.1f %9.1f\n", name, ms(t.at(50)), ms(t.at(95)), ms(t.at(100)))
	}
	ratio := func(name string, a, b times) {
		r := func(p int) string {
			if a.at(p) <= 0 || b.at(p) <= 0 {
				return "-" // in hand before we had the server's answer or word ourselves
			}
			return fmt.Sprintf("%.1f", float64(a.at(p))/float64(b.at(p)))
		}
		fmt.Printf("  %-44s %9s %9s %9s\n", name, r(50), r(95), r(100))
	}
	line("emailint, linked and saved: after APPEND", ours.appended)
	line("plain IDLE and FETCH, header in hand", plain.appended)
	ratio("ratio", ours.appended, plain.appended)
	line("emailint: after the server's word (EXISTS)", ours.told)
	line("plain IDLE and FETCH", plain.told)
	ratio("ratio", ours.told, plain.told)
}
