package cert_test

import "crypto/tls"

// hello is what a browser asks for a host.
func hello(host string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{ServerName: host, SupportedProtos: []string{"h2", "http/1.1"}}
}
