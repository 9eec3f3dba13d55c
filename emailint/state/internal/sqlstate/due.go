package sqlstate

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
	n := 0
	woken := map[int64]bool{}
	for _, id := range rows {
		cs, err := list(t, one[int64], `UPDATE ledger SET due = due + 1 WHERE id = ? AND org = ? AND fate IN ('pending', 'linked',
			'unmatched', 'excluded', 'internal', 'automated', 'failed') RETURNING conn`, id, org)
		if err != nil {
			return n, err
		}
		for _, c := range cs {
			n++
			woken[c] = true
		}
	}
	for c := range woken {
		if err := t.do(`UPDATE connection SET wake = wake + 1 WHERE id = ?`, c); err != nil {
			return n, err
		}
	}
	return n, nil
}
