package message_test

import (
	"testing"

	"github.com/intellicon/email-integration/message"
)

func TestAddressKey(t *testing.T) {
	for in, want := range map[string]message.Key{
		"Ada@Example.COM":    "ada@example.com",
		"ada@example.com.":   "ada@example.com",
		`"ada b"@ex.com`:     "ada b@ex.com",
		"ada@bücher.example": "ada@xn--bcher-kva.example",
		"bob.@docomo.ne.jp":  "bob.@docomo.ne.jp",
		"@example.com":       "",
		"ada":                "",
		"ada@":               "",
	} {
		if got := message.AddressKey(in); got != want {
			t.Errorf("AddressKey(%q) = %q, want %q", in, got, want)
		}
	}
}
