package mailworld

import (
	"bytes"
	"fmt"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/internal/mbox"
	"github.com/intellicon/email-integration/message"
)

// FromMbox returns the mails of an mbox file, all in INBOX, each at the time of its Date field (1970 where it has none that can be
// read). The order is the file's.
func FromMbox(path string) ([]Mail, error) {
	raws, err := mbox.ReadFile(path)
	if err != nil {
		return nil, err
	}
	out := make([]Mail, len(raws))
	for i, raw := range raws {
		at := message.ParseHeader(raw).Date
		if at.IsZero() {
			at = time.Unix(0, 0)
		}
		out[i] = Mail{Folder: "INBOX", At: at, Raw: raw}
	}
	return out, nil
}

// Append files a mail on any IMAP server, its time as INTERNALDATE, with line ends as RFC 5322 has them. It returns after the server
// has said that it is filed.
func Append(c *imapclient.Client, m Mail) error {
	raw := bytes.ReplaceAll(bytes.ReplaceAll(m.Raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	cmd := c.Append(m.Folder, int64(len(raw)), &imap.AppendOptions{Time: m.At})
	_, err := cmd.Write(raw)
	if cerr := cmd.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		_, err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("appending to %s: %w", m.Folder, err)
	}
	return nil
}
