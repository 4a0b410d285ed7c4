package http1_test

// requestSeeds are the raw requests of the edge battery (rows E01 to E34), less the
// long ones; answerSeeds what a hostile app says; chunkSeeds bodies after a head
// that says chunked.
var requestSeeds = []string{
	// baseline
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// CL.TE both
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
	// TE.CL both + smuggled
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// CL dup same
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
	// CL dup diff
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
	// CL "5, 5"
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nContent-Length: 5, 5\r\n\r\nhello",
	// CL +5
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nContent-Length: +5\r\n\r\nhello",
	// CL -1
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nContent-Length: -1\r\n\r\nhello",
	// CL 0x5
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nContent-Length: 0x5\r\n\r\nhello",
	// CL 5_0
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nContent-Length: 5_0\r\n\r\nhello",
	// CL huge overflow
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
	// CL empty
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nContent-Length: \r\n\r\nhello",
	// CL space inside
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nContent-Length: 1 0\r\n\r\nhello",
	// TE xchunked
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	// TE chunked, chunked
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
	// TE identity
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
	// TE chunked, identity
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
	// TE dup
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	// TE dup cow
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	// TE gzip, chunked
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	// TE \\x0bchunked
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
	// TE chunked\\x0b + CL
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: chunked\x0b\r\nContent-Length: 5\r\n\r\nhello",
	// TE tab
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n",
	// TE space before colon
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
	// TE leading space line(first hdr)
	"POST /p HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: a.relay.test\r\n\r\n0\r\n\r\n",
	// TE obs-fold
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
	// hdr obs-fold
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\nX-A: b\r\n\tc\r\n\r\n",
	// TE via underscore
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
	// TE in HTTP/1.0
	"POST /p HTTP/1.0\r\nHost: a.relay.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	// TE quoted
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
	// TE x\\nTE smash
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nX: x\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	// TE x\\rTE smash
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nX: x\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
	// bare LF all lines
	"GET / HTTP/1.1\nHost: a.relay.test\n\n",
	// bare LF chunk size
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
	// bare LF chunk ext (Funky)
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: chunked\r\n\r\n5;\nhello\r\n0\r\n\r\n",
	// bare CR in chunk ext
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: chunked\r\n\r\n5;a\rb\r\nhello\r\n0\r\n\r\n",
	// chunk size 0x5
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
	// chunk size neg
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
	// chunk size leading space
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n",
	// chunk size trailing space
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
	// chunk size 17 hex
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000005\r\nhello\r\n0\r\n\r\n",
	// chunk missing CRLF after data
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n",
	// chunk data XX instead CRLF
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
	// trailer section CL
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
	// trailer Authorization
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Evil, Authorization\r\n\r\n0\r\nX-Evil: 1\r\nAuthorization: x\r\n\r\n",
	// trailer undeclared
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Evil: 1\r\n\r\n",
	// GET with CL body + pipelined
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\nContent-Length: 5\r\n\r\nhelloGET /smuggled HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// HEAD with CL body (CL.0)
	"HEAD / HTTP/1.1\r\nHost: a.relay.test\r\nContent-Length: 46\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// dup Host
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\nHost: b.relay.test\r\n\r\n",
	// no Host 1.1
	"GET / HTTP/1.1\r\n\r\n",
	// no Host 1.0
	"GET / HTTP/1.0\r\n\r\n",
	// empty Host
	"GET / HTTP/1.1\r\nHost: \r\n\r\n",
	// abs-form differs
	"GET http://b.relay.test/x HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// abs-form ftp
	"GET ftp://b.relay.test/x HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// abs-form userinfo
	"GET http://u:p@b.relay.test/x HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// Host userinfo
	"GET / HTTP/1.1\r\nHost: x@a.relay.test\r\n\r\n",
	// Host path
	"GET / HTTP/1.1\r\nHost: a.relay.test/evil\r\n\r\n",
	// Host space
	"GET / HTTP/1.1\r\nHost: a.relay.test b\r\n\r\n",
	// Host upper+dot
	"GET / HTTP/1.1\r\nHost: A.ReLaY.test.\r\n\r\n",
	// Host port junk
	"GET / HTTP/1.1\r\nHost: a.relay.test:80abc\r\n\r\n",
	// Host %00
	"GET / HTTP/1.1\r\nHost: a.relay.test%00.evil\r\n\r\n",
	// Host comma
	"GET / HTTP/1.1\r\nHost: a.relay.test,b.relay.test\r\n\r\n",
	// Host utf8
	"GET / HTTP/1.1\r\nHost: \xc3\xa9.relay.test\r\n\r\n",
	// Host 0x80
	"GET / HTTP/1.1\r\nHost: \x80.relay.test\r\n\r\n",
	// Host leading space line
	"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
	// X-Forwarded-For spoof
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 9.9.9.9\r\nX_Forwarded_For: 7.7.7.7\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /evil\r\nX-Forwarded-Server: e\r\nTrue-Client-IP: 5.5.5.5\r\n\r\n",
	// Connection strips XFF
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\nConnection: close, X-Forwarded-For, X-Forwarded-Host, x-forwarded-proto, Authorization, Cookie\r\nAuthorization: a\r\nCookie: b=c\r\n\r\n",
	// Upgrade h2c
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
	// Upgrade weird
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\nConnection: Upgrade\r\nUpgrade: foo/1\r\n\r\n",
	// Upgrade non-ascii
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\nConnection: Upgrade\r\nUpgrade: we\x80b\r\n\r\n",
	// WS bad version
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\nSec-WebSocket-Key: x\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// TRACE
	"TRACE / HTTP/1.1\r\nHost: a.relay.test\r\nCookie: secret\r\n\r\n",
	// CONNECT host
	"CONNECT a.relay.test:443 HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// CONNECT path
	"CONNECT /x HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// method lowercase
	"get / HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// method odd
	"FOO!BAR / HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// method bad char
	"GE(T / HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// PRI preface
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	// HTTP/1.2
	"GET / HTTP/1.2\r\nHost: a.relay.test\r\n\r\n",
	// HTTP/2.0 on h1
	"GET / HTTP/2.0\r\nHost: a.relay.test\r\n\r\n",
	// HTTP/0.9
	"GET /\r\n\r\n",
	// HTTP/1.1 extra sp
	"GET  / HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// URI with space
	"GET /a b HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// URI fragment
	"GET /a#frag HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// URI //evil
	"GET //evil.com/x HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// URI dotdot
	"GET /a/../../etc/passwd HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// URI enc dotdot
	"GET /a/%2e%2e/%2e%2e%2fetc HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// URI %00
	"GET /a%00b HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// URI bad pct
	"GET /a%zz HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// URI backslash
	"GET /a\\b HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// URI raw utf8
	"GET /\xc3\xa9 HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// URI 0x01
	"GET /\x01 HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// URI * GET
	"GET * HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// OPTIONS *
	"OPTIONS * HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// query semicolon
	"GET /?a=1;b=2&c=%zz HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// NUL in value
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\nX: a\x00b\r\n\r\n",
	// 0x7f/ctl in value
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\nX: a\x01b\r\n\r\n",
	// bare CR in value
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\nX: a\rb\r\n\r\n",
	// hdr name space
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\nX Y: a\r\n\r\n",
	// hdr empty name
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\n: a\r\n\r\n",
	// hdr no colon
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\nXY\r\n\r\n",
	// hdr non-ascii name
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\nX\xc3\xa9: a\r\n\r\n",
	// hdr latin1 value
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\nX: \xe9\xff\r\n\r\n",
	// leading CRLF
	"\r\n\r\nGET / HTTP/1.1\r\nHost: a.relay.test\r\n\r\n",
	// Expect 100
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
	// Expect junk
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nExpect: 200-ok\r\nContent-Length: 5\r\n\r\nhello",
	// Expect 100 CL0
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
	// Transfer-Encoding in Connection
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nConnection: Transfer-Encoding, Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	// Content-Length in Connection
	"POST /p HTTP/1.1\r\nHost: a.relay.test\r\nConnection: Content-Length\r\nContent-Length: 5\r\n\r\nhello",
	// Max-Forwards OPTIONS
	"OPTIONS / HTTP/1.1\r\nHost: a.relay.test\r\nMax-Forwards: 0\r\n\r\n",
	// Proxy-Connection/Proxy-Authorization
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\nProxy-Authorization: Basic x\r\nProxy-Connection: keep-alive\r\nKeep-Alive: x\r\nTE: trailers, gzip\r\n\r\n",
	// many dup XFF
	"GET / HTTP/1.1\r\nHost: a.relay.test\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n",
	"POST /p HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A: 1\r\n\r\nGET / HTTP/1.1\r\n",
	"GET http://b.test/x?y HTTP/1.1\r\nHost: a.test\r\nPragma: no-cache\r\n\r\n",
	"GET /%zz HTTP/1.1\r\nHost: a.test\r\n\r\n",
}

var answerSeeds = []string{
	"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: x=y\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON",
	"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
	"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 999 Weird\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 099 Weird\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.0 200 OK\r\n\r\nuntil the end",
	"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nTrailer: X-A, Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-A: 1\r\n\r\n",
	"HTTP/1.1 200 OK\nX: a\nContent-Length: 2\n\nok",
	"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nPragma: no-cache\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200\r\n\r\n",
}

var chunkSeeds = []string{
	"5\r\nhello\r\n0\r\n\r\n",
	"5;a=b\r\nhello\r\n0\r\nX-A: 1\r\n\r\nnext",
	"0x5\r\nhello\r\n0\r\n\r\n",
	"5 \r\nhello\r\n0\r\n\r\n",
	"5 ;a\r\nhello\r\n0\r\n\r\n",
	"00000000000000005\r\nhello\r\n0\r\n\r\n",
	"5\r\nhello0\r\n\r\n",
	"5\nhello\r\n0\r\n\r\n",
	"5;a\rb\r\nhello\r\n0\r\n\r\n",
	"0\r\n\n",
	"0\r\nX: a\n\r\n",
	"0\r\nX: a\r\n\n",
	"0\r\n\r\nX: a\r\n\r\n",
	"0\r\nContent-Length: 5\r\nX-A: 1\r\n\r\n",
	"4000000000000000\r\n",
	"0;a\r\n\r\n",
	"a\r\n0123456789\r\n0\r\n\r\n",
}
