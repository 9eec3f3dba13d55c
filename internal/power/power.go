// Package power finds out what a mailbox, a provider or a CRM can do besides what it must.
package power

// Of returns the optional interface T of w: a provider.Mailbox, a provider.Provider or a crm.Store. One that wraps another says so by a method Unwrap that returns
// the other, a W: then it can do just what the innermost can, and the outermost that passes it on is returned. So a wrapper needs no type for each
// combination.
func Of[T, W any](w W) (t T, ok bool) {
	found := false
	for {
		var here T
		if here, ok = any(w).(T); ok && !found {
			t, found = here, true
		}
		u, wraps := any(w).(interface{ Unwrap() W })
		if !wraps {
			break
		}
		w = u.Unwrap()
	}
	if !ok {
		var none T
		return none, false
	}
	return t, true
}
