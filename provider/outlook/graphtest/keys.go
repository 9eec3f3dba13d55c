package graphtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"math/big"
	"net/http"
	"sync"
	"time"
)

const keyID = "graphtest-1"

// issuer is what tokens of a tenant name as theirs.
func (s *Server) issuer(tenant string) string { return s.base + "/" + tenant + "/v2.0" }

// key signs tokens. It takes a while to make, and one does for a process.
var key = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// sign makes a JWT (RFC 7519, RS256).
func (s *Server) sign(claims map[string]any, life time.Duration) string {
	now := s.now()
	claims["iat"], claims["nbf"], claims["exp"] = now.Unix(), now.Unix(), now.Add(life).Unix()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // strings and numbers
		}
		return b64.EncodeToString(b)
	}
	signed := part(map[string]string{"alg": "RS256", "typ": "JWT", "kid": keyID}) + "." + part(claims)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key(), crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return signed + "." + b64.EncodeToString(sig)
}

func (s *Server) serveKeys(w http.ResponseWriter) {
	pub := key().PublicKey
	tokenAnswer(w, http.StatusOK, map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": keyID,
		"n": b64.EncodeToString(pub.N.Bytes()), "e": b64.EncodeToString(big.NewInt(int64(pub.E)).Bytes()),
	}}})
}

// serveDiscovery is OpenID Connect's, for those who look for the keys there. From memory: of common the issuer has {tenantid} in it.
func (s *Server) serveDiscovery(w http.ResponseWriter, tenant string) {
	e := s.Endpoint(tenant)
	s.mu.Lock()
	issuer := s.issuer("{tenantid}")
	if tenant != "common" && tenant != "organizations" {
		issuer = s.issuer(tenant)
	}
	s.mu.Unlock()
	tokenAnswer(w, http.StatusOK, map[string]any{
		"issuer": issuer, "authorization_endpoint": e.AuthURL, "token_endpoint": e.TokenURL, "jwks_uri": s.KeysURL(),
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"pairwise"}, "id_token_signing_alg_values_supported": []string{"RS256"},
	})
}
