package message_test

import "testing"

var parseCases = []struct{ name, raw string }{{"empty", ""}}

func TestParse(t *testing.T) {}
