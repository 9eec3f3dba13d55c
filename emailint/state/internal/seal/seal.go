// Package seal keeps state.Store closed until v1: only packages below emailint/state can name its type.
package seal

// Store is the argument of the method that seals state.Store.
type Store struct{}
