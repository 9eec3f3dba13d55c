// Package mbox reads mbox files (RFC 4155 and its mboxrd quoting).
package mbox

import (
	"bytes"
	"fmt"
	"os"
)

// ReadFile returns the messages of an mbox file, or the file itself as the one message when it doesn't start as an mbox
// does. A file that is empty, or is no mail at all, is an error.
func ReadFile(path string) ([][]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading mail: %w", err)
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, fmt.Errorf("%s is empty", path)
	}
	if !bytes.HasPrefix(b, []byte("From ")) {
		if i := bytes.IndexByte(b[:min(len(b), 2000)], ':'); i <= 0 || bytes.IndexByte(b[:min(len(b), 4096)], 0) >= 0 {
			return nil, fmt.Errorf("%s is neither an mbox (no line \"From \") nor a message (no header)", path)
		}
		return [][]byte{b}, nil
	}
	return Split(b), nil
}

// Split cuts an mbox at its From_ lines: one at the start or after an empty line whose second word is followed by
// something that looks like a date, so that a sentence starting with "From " stays where it is.
func Split(b []byte) [][]byte {
	var out [][]byte
	var cur []byte
	blank, open := true, false
	for len(b) > 0 {
		line := b
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			line = b[:i+1]
		}
		b = b[len(line):]
		if blank && isFrom(line) {
			if open {
				out = append(out, bytes.TrimSuffix(cur, []byte("\n")))
			}
			cur, open, blank = nil, true, false
			continue
		}
		blank = len(bytes.TrimRight(line, "\r\n")) == 0
		if t := bytes.TrimLeft(line, ">"); len(t) < len(line) && bytes.HasPrefix(t, []byte("From ")) {
			line = line[1:] // mboxrd
		}
		cur = append(cur, line...)
	}
	if open {
		out = append(out, bytes.TrimSuffix(cur, []byte("\n")))
	}
	return out
}

func isFrom(line []byte) bool {
	if !bytes.HasPrefix(line, []byte("From ")) {
		return false
	}
	f := bytes.Fields(line)
	// From sender Thu Aug 22 12:36:23 2002: a time with colons and a year of four digits.
	if len(f) < 6 {
		return len(f) <= 2 // "From sender", and the bare "From -" of some exports
	}
	for _, w := range f[2:] {
		if bytes.Count(w, []byte(":")) >= 1 && w[0] >= '0' && w[0] <= '9' {
			return true
		}
	}
	return false
}
