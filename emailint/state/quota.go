package state

import (
	"errors"
	"time"
)

// Taking is what somebody wants of a bucket that holds Size units, is full at first, and fills by PerMinute.
type Taking struct {
	PerMinute, Size int64
	Want, Least     int64
	Leave           int64 // stays in it for others
}

// MaxPerMinute bounds what a bucket holds and fills by.
const MaxPerMinute = 1e9

// skew is how far clocks are apart at most. A time further ahead was a clock's that was wrong, or is now: who goes by the other begins anew with what is
// there. Waiting for it could take years.
const skew = time.Minute

// Take is what a store does with a bucket in which level units were at some time. It returns what is in it afterwards; at is the time of that.
func (t Taking) Take(level int64, at, now time.Time) (left int64, since time.Time, taken int64, wait time.Duration, err error) {
	if t.PerMinute <= 0 || t.PerMinute > MaxPerMinute || t.Size > MaxPerMinute || t.Least < 0 || t.Least > t.Want || t.Leave < 0 || t.Least+t.Leave > t.Size {
		return level, at, 0, 0, errors.New("state: a taking that can never succeed")
	}
	since = at
	if at.Sub(now) > skew {
		since = now
	}
	if now.After(at) {
		micros, perMicro := now.Sub(at).Microseconds(), time.Minute.Microseconds()
		filled := min(micros, time.Hour.Microseconds()) * t.PerMinute / perMicro
		if level += filled; level >= t.Size {
			level, since = t.Size, now
		} else {
			since = at.Add(time.Duration((filled*perMicro+t.PerMinute-1)/t.PerMinute) * time.Microsecond) // the fraction of a unit goes on growing
		}
	}
	if there := level - t.Leave; there >= t.Least {
		taken = min(t.Want, there)
		return level - taken, since, taken, 0, nil
	}
	return level, since, 0, time.Duration(t.Least+t.Leave-level) * time.Minute / time.Duration(t.PerMinute), nil
}
