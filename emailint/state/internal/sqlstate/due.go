package sqlstate

import "slices"

// markDue raises the due number of the decided or pending rows that a query selects, and wakes their connections.
func (t *tx) markDue(org, q string, args ...any) (int, error) {
	rows, err := list(t, one[int64], q, args...)
	if err != nil {
		return 0, err
	}
	return t.mark(org, rows)
}

// mark is markDue for rows by id.
func (t *tx) mark(org string, rows []int64) (int, error) {
	if len(rows) == 0 {
		return 0, nil
	}
	conns, err := listEach(t, one[int64], `UPDATE ledger SET due = due + 1 /*each*/ WHERE id = ?1 AND org = ?2 AND fate IN ('pending', 'linked',
		'unmatched', 'excluded', 'internal', 'automated', 'failed') RETURNING conn`, rows, org)
	if err != nil {
		return 0, err
	}
	n := len(conns)
	slices.Sort(conns)
	return n, t.each(`UPDATE connection SET wake = wake + 1 /*each*/ WHERE id = ?1`, slices.Compact(conns))
}
