package walk

import (
	"fmt"
	"time"

	"github.com/intellicon/email-integration/internal/mailworld"
)

// Question is the mail that arrives while a walk looks on: a customer asks the owner of the embedded mailbox something.
func Question(at time.Time) (raw []byte, messageID string) {
	messageID = fmt.Sprintf("live.%d@acme-pumps.example", at.UnixNano())
	return []byte("From: Maria Keller <maria.keller@acme-pumps.example>\r\nTo: " + mailworld.Owner + "\r\nSubject: Can we sign today?\r\nDate: " +
		at.Format(time.RFC1123Z) + "\r\nMessage-ID: <" + messageID + ">\r\n\r\nHello Nora,\r\n\r\nI have the pen ready.\r\n"), messageID
}
