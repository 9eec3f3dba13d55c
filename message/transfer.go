package message

// decodeBase64 reads RFC 2045, 6.8, skipping every byte that is not of the alphabet, going on after padding (seen
// in practice: encoded pieces put one after another) and keeping an incomplete end. bad counts strange bytes.
func decodeBase64(b []byte, limit int) (out []byte, bad int) {
	out = make([]byte, 0, min(len(b)/4*3+3, limit))
	var acc uint32
	n := 0
	end := func() {
		switch n {
		case 2:
			out = append(out, byte(acc>>4))
		case 3:
			out = append(out, byte(acc>>10), byte(acc>>2))
		}
		acc, n = 0, 0
	}
	for _, c := range b {
		var v uint32
		switch {
		case c >= 'A' && c <= 'Z':
			v = uint32(c - 'A')
		case c >= 'a' && c <= 'z':
			v = uint32(c-'a') + 26
		case c >= '0' && c <= '9':
			v = uint32(c-'0') + 52
		case c == '+':
			v = 62
		case c == '/':
			v = 63
		case c == '=':
			end()
			continue
		default:
			if c != '\r' && c != '\n' && c != ' ' && c != '\t' {
				bad++
			}
			continue
		}
		acc = acc<<6 | v
		if n++; n == 4 {
			out = append(out, byte(acc>>16), byte(acc>>8), byte(acc))
			acc, n = 0, 0
			if len(out) >= limit {
				return out[:limit], bad
			}
		}
	}
	end()
	return out[:min(len(out), limit)], bad
}

// base64Size returns the decoded size without decoding.
func base64Size(b []byte) int64 {
	n := int64(0)
	for _, c := range b {
		n += int64(base64Letter[c]) // attachments are most of the bytes of mail: no branch
	}
	return n * 3 / 4
}

// base64Letter is 1 for the bytes of the alphabet.
var base64Letter = func() (is [256]uint8) {
	for c := range is {
		if isBase64(byte(c)) {
			is[c] = 1
		}
	}
	return is
}()

// decodeQP reads RFC 2045, 6.7. A "=" that begins no valid sequence is text; white space at a line's end is
// transport padding and goes.
func decodeQP(b []byte, limit int) (out []byte, bad int) {
	out = make([]byte, 0, min(len(b), limit))
	for len(b) > 0 && len(out) < limit {
		line, end := b, 0
		for i, c := range b {
			if c == '\n' {
				line, end = b[:i], i+1
				break
			}
		}
		if end == 0 {
			end = len(b)
		}
		newline := b[len(line):end]
		b = b[end:]
		n := len(line)
		for n > 0 && (line[n-1] == ' ' || line[n-1] == '\t' || line[n-1] == '\r') {
			n--
		}
		if n < len(line) && line[len(line)-1] == '\r' && len(newline) > 0 {
			newline = []byte("\r\n")
		}
		line = line[:n]
		if n > 0 && line[n-1] == '=' {
			line, newline = line[:n-1], nil
		}
		for i := 0; i < len(line); i++ {
			if line[i] != '=' {
				out = append(out, line[i])
				continue
			}
			if i+2 < len(line) {
				h, ok1 := unhex(line[i+1])
				l, ok2 := unhex(line[i+2])
				if ok1 && ok2 {
					out = append(out, h<<4|l)
					i += 2
					continue
				}
			}
			bad++
			out = append(out, '=')
		}
		out = append(out, newline...)
	}
	return out[:min(len(out), limit)], bad
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}
