package gmailtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"sync"
	"time"
)

// Issuer is what Google's tokens name as theirs (facts 1.3).
const Issuer = "https://accounts.google.com"

const keyID = "gmailtest-1"

// key signs tokens. It takes a while to make, and one does for a process.
var key = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// sign makes a JWT (RFC 7519, RS256) of Google's. Claims that are there already stay.
func (s *Server) sign(claims map[string]any, life time.Duration) string {
	now := s.now()
	for k, v := range map[string]any{"iss": Issuer, "iat": now.Unix(), "exp": now.Add(life).Unix()} {
		if _, ok := claims[k]; !ok {
			claims[k] = v
		}
	}
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // strings and numbers
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	signed := part(map[string]string{"alg": "RS256", "typ": "JWT", "kid": keyID}) + "." + part(claims)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key(), crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func (s *Server) serveKeys(w http.ResponseWriter, _ *http.Request) {
	pub := key().PublicKey
	tokenAnswer(w, http.StatusOK, map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": keyID,
		"n": b64.EncodeToString(pub.N.Bytes()), "e": b64.EncodeToString(big.NewInt(int64(pub.E)).Bytes()),
	}}})
}

// serveDiscovery is OpenID Connect's, for those who look for the keys there.
func (s *Server) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	e := s.Endpoint()
	tokenAnswer(w, http.StatusOK, map[string]any{
		"issuer": Issuer, "authorization_endpoint": e.AuthURL, "token_endpoint": e.TokenURL, "revocation_endpoint": s.RevokeURL(), "jwks_uri": s.KeysURL(),
		"userinfo_endpoint": s.URL() + "v1/userinfo", "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}
