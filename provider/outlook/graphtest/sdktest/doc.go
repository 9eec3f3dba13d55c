// Package sdktest has no code, only tests: they drive graphtest by Microsoft's own client, without our provider. It is a directory of its own because
// that client takes minutes to compile and may not be compiled under -race; graphtest's own tests may.
package sdktest

// What go list says of the package without its tests has the client too: CI leaves out of the race run what has it.
import _ "github.com/microsoftgraph/msgraph-sdk-go/users"
