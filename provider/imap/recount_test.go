package imap

import "testing"

// What is counted, in every small world: messages go and come before the folder is opened, between that and the search, and
// between the search and its answer. The law: Count never falls below what nobody was told to recount, so that no later removal is
// hidden behind it.
func TestRecountErrsUpwardsOnly(t *testing.T) {
	cases := 0
	upTo := func(n int, f func(int)) {
		for i := range n + 1 {
			f(i)
		}
	}
	for _, told := range []bool{true, false} {
		upTo(3, func(believed int) { // all of UID up to Last
			upTo(believed, func(wentBefore int) {
				upTo(2, func(cameBefore int) {
					upTo(believed-wentBefore, func(wentBetween int) {
						upTo(cameBefore, func(newWentBetween int) {
							upTo(2, func(cameBetween int) {
								upTo(believed-wentBefore-wentBetween, func(wentAfter int) {
									upTo(cameBefore-newWentBetween+cameBetween, func(foundWentAfter int) {
										upTo(1, func(cameAfter int) {
											cases++
											const last = 10
											sel := selection{num: uint32(believed - wentBefore + cameBefore), counted: true}
											if told {
												sel.next = uint32(last + cameBefore + 1)
											}
											var uids []uint32
											for i := newWentBetween; i < cameBefore+cameBetween; i++ {
												uids = append(uids, uint32(last+1+i))
											}
											old := believed - wentBefore - wentBetween - wentAfter
											now := old + len(uids) - foundWentAfter + cameAfter
											count := uint32(believed)
											mk := mark{Last: last, Count: &count}
											left, most := remaining(sel, uids, uint32(now))
											if !told && most < count {
												left, most = uint32(old), uint32(old) // counted one by one
											}
											gone := mk.recount(left, most)
											least := believed
											if gone {
												least = old
											}
											if int(*mk.Count) < least {
												t.Errorf("UIDNEXT told %v: believed %d, went %d %d %d, new %d %d went %d %d, came last %d: recount %v, count %d, want at least %d", told, believed,
													wentBefore, wentBetween, wentAfter, cameBefore, cameBetween, newWentBetween, foundWentAfter, cameAfter, gone, *mk.Count, least)
											}
											if gone && old == believed {
												t.Errorf("UIDNEXT told %v: a recount without a cause", told)
											}
											quiet := wentBetween+newWentBetween+cameBetween+wentAfter+foundWentAfter+cameAfter == 0
											if quiet && (gone != (wentBefore > 0) || int(*mk.Count) != old) {
												t.Errorf("UIDNEXT told %v, nothing in between: believed %d, went %d: recount %v, count %d", told, believed, wentBefore, gone, *mk.Count)
											}
										})
									})
								})
							})
						})
					})
				})
			})
		})
	}
	if cases < 1000 {
		t.Fatalf("%d cases", cases)
	}
}
