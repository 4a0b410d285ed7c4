package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// gRPC, with the client and the server of grpc-go: nothing in HTTP leans harder on trailers, flushing and cancellation.

// grpcApp is the test service of gRPC's own interoperability suite, as far as we call it.
type grpcApp struct {
	testpb.UnimplementedTestServiceServer
	cancelled chan string // what handlers saw when their caller left
	waiting   chan bool
}

func (a *grpcApp) UnaryCall(ctx context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if code := in.GetResponseStatus().GetCode(); code != 0 {
		st := status.New(codes.Code(code), in.ResponseStatus.Message)
		st, err := st.WithDetails(&errdetails.ErrorInfo{Reason: "because", Domain: "test", Metadata: map[string]string{"a": "b"}})
		if err != nil {
			return nil, err
		}
		return nil, st.Err()
	}
	if in.FillUsername { // wait for the caller to go
		deadline, ok := ctx.Deadline()
		a.waiting <- true
		select {
		case <-ctx.Done():
			a.cancelled <- fmt.Sprintf("%v, deadline %v", ctx.Err(), ok && time.Until(deadline) < patience)
		case <-time.After(patience):
			a.cancelled <- "nothing"
		}
		return nil, ctx.Err()
	}
	grpc.SetHeader(ctx, metadata.Pairs("x-echo", strings.Join(md["x-ask"], ","), "x-bin-bin", strings.Join(md["x-raw-bin"], "")))
	grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", "end", "x-trailer", "end2"))
	return &testpb.SimpleResponse{Payload: &testpb.Payload{Body: pattern(int(in.ResponseSize))}, Username: strings.Join(md[":authority"], ",")}, nil
}

func (a *grpcApp) StreamingOutputCall(in *testpb.StreamingOutputCallRequest, s grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
	for _, p := range in.ResponseParameters {
		if err := s.Send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: pattern(int(p.Size))}}); err != nil {
			return err
		}
	}
	if code := in.GetResponseStatus().GetCode(); code != 0 {
		return status.Error(codes.Code(code), in.ResponseStatus.Message)
	}
	return nil
}

func (a *grpcApp) StreamingInputCall(s grpc.ClientStreamingServer[testpb.StreamingInputCallRequest, testpb.StreamingInputCallResponse]) error {
	size := 0
	for {
		in, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return s.SendAndClose(&testpb.StreamingInputCallResponse{AggregatedPayloadSize: int32(size)})
		}
		if err != nil {
			return err
		}
		size += len(in.GetPayload().GetBody())
		if size > 5<<20 { // enough is enough, long before the client is done
			return status.Error(codes.ResourceExhausted, "too much")
		}
	}
}

func (a *grpcApp) FullDuplexCall(s grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	for {
		in, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			a.cancelled <- status.Code(err).String()
			return err
		}
		if err := s.Send(&testpb.StreamingOutputCallResponse{Payload: in.Payload}); err != nil {
			return err
		}
	}
}

func overGRPC(t *testing.T, check func(t *testing.T, r *road, a *grpcApp, client testpb.TestServiceClient, conn *grpc.ClientConn)) {
	var app *grpcApp
	open := func(t *testing.T) string {
		app = &grpcApp{cancelled: make(chan string, 16), waiting: make(chan bool, 16)}
		l := listenLocal(t)
		srv := grpc.NewServer()
		testpb.RegisterTestServiceServer(srv, app)
		h := health.NewServer()
		h.SetServingStatus("up", healthpb.HealthCheckResponse_SERVING)
		healthpb.RegisterHealthServer(srv, h)
		go srv.Serve(l)
		t.Cleanup(srv.Stop)
		return l.Addr().String()
	}
	overRoads(t, open, func(t *testing.T, r *road) {
		if standIn == "proxy" {
			t.Skip("the stand-in speaks HTTP/1.1 to the app")
		}
		conn, err := grpc.NewClient("passthrough:///"+r.addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(r.host),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", addr)
			}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		check(t, r, app, testpb.NewTestServiceClient(conn), conn)
	}, "--upstream-protocol", "h2c")
}

func grpcContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestGRPCUnary(t *testing.T) {
	overGRPC(t, func(t *testing.T, r *road, _ *grpcApp, c testpb.TestServiceClient, conn *grpc.ClientConn) {
		for _, size := range []int32{0, 1, 1000, 70_000, 3 << 20} {
			ctx := metadata.AppendToOutgoingContext(grpcContext(t), "x-ask", "one", "x-ask", "two", "x-raw-bin", "\x00\x01\xff")
			var header, trailer metadata.MD
			out, err := c.UnaryCall(ctx, &testpb.SimpleRequest{ResponseSize: size, Payload: &testpb.Payload{Body: pattern(int(size))}},
				grpc.Header(&header), grpc.Trailer(&trailer))
			if err != nil || string(out.GetPayload().GetBody()) != string(pattern(int(size))) {
				t.Fatalf("%d bytes: %d back, %v", size, len(out.GetPayload().GetBody()), err)
			}
			if got := fmt.Sprint(header["x-echo"], trailer["x-trailer"], header["x-bin-bin"]); got != fmt.Sprint([]string{"one,two"}, []string{"end", "end2"}, []string{"\x00\x01\xff"}) {
				t.Errorf("metadata came back as %q", got)
			}
			if out.Username != r.host {
				t.Errorf(":authority at the app is %q, want %q", out.Username, r.host)
			}
		}
		resp, err := healthpb.NewHealthClient(conn).Check(grpcContext(t), &healthpb.HealthCheckRequest{Service: "up"})
		if err != nil || resp.Status != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health: %v, %v", resp, err)
		}
	})
}

// A status without any message is one HEADERS frame ("trailers only"): the proxy that waits for more, or drops it, shows here.
func TestGRPCErrors(t *testing.T) {
	overGRPC(t, func(t *testing.T, _ *road, _ *grpcApp, c testpb.TestServiceClient, conn *grpc.ClientConn) {
		for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
			msg := fmt.Sprintf("no: é %% %d\n", code)
			_, err := c.UnaryCall(grpcContext(t), &testpb.SimpleRequest{ResponseStatus: &testpb.EchoStatus{Code: int32(code), Message: msg}})
			st := status.Convert(err)
			if st.Code() != code || st.Message() != msg || len(st.Details()) != 1 {
				t.Errorf("code %v: got %v %q with %d details", code, st.Code(), st.Message(), len(st.Details()))
				continue
			}
			if info, ok := st.Details()[0].(*errdetails.ErrorInfo); !ok || info.Reason != "because" || info.Metadata["a"] != "b" {
				t.Errorf("code %v: details %v", code, st.Details())
			}
		}
		if _, err := c.EmptyCall(grpcContext(t), &testpb.Empty{}); status.Code(err) != codes.Unimplemented {
			t.Errorf("unimplemented method: %v", err)
		}
		if _, err := healthpb.NewHealthClient(conn).Check(grpcContext(t), &healthpb.HealthCheckRequest{Service: "nope"}); status.Code(err) != codes.NotFound {
			t.Errorf("health of nothing: %v", err)
		}
		// A status after messages.
		s, err := c.StreamingOutputCall(grpcContext(t), &testpb.StreamingOutputCallRequest{
			ResponseParameters: []*testpb.ResponseParameters{{Size: 10}, {Size: 20}}, ResponseStatus: &testpb.EchoStatus{Code: int32(codes.DataLoss), Message: "midway"},
		})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for {
			if _, err = s.Recv(); err != nil {
				break
			}
			n++
		}
		if n != 2 || status.Code(err) != codes.DataLoss || status.Convert(err).Message() != "midway" {
			t.Errorf("%d messages, then %v", n, err)
		}
	})
}

func TestGRPCStreams(t *testing.T) {
	overGRPC(t, func(t *testing.T, _ *road, _ *grpcApp, c testpb.TestServiceClient, _ *grpc.ClientConn) {
		// From the server.
		var params []*testpb.ResponseParameters
		for i := range 200 {
			params = append(params, &testpb.ResponseParameters{Size: int32(i * 331)})
		}
		out, err := c.StreamingOutputCall(grpcContext(t), &testpb.StreamingOutputCallRequest{ResponseParameters: params})
		if err != nil {
			t.Fatal(err)
		}
		for i := range params {
			m, err := out.Recv()
			if err != nil || len(m.GetPayload().GetBody()) != i*331 {
				t.Fatalf("message %d: %d bytes, %v", i, len(m.GetPayload().GetBody()), err)
			}
		}
		if _, err := out.Recv(); !errors.Is(err, io.EOF) {
			t.Fatalf("the end is %v", err)
		}
		// From the client.
		in, err := c.StreamingInputCall(grpcContext(t))
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for i := range 200 {
			want += i * 100
			if err := in.Send(&testpb.StreamingInputCallRequest{Payload: &testpb.Payload{Body: pattern(i * 100)}}); err != nil {
				t.Fatal(err)
			}
		}
		if sum, err := in.CloseAndRecv(); err != nil || int(sum.GetAggregatedPayloadSize()) != want {
			t.Fatalf("the app counted %d, want %d; %v", sum.GetAggregatedPayloadSize(), want, err)
		}
		// In turns: each answer before the next question.
		duplex, err := c.FullDuplexCall(grpcContext(t))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			if err := duplex.Send(&testpb.StreamingOutputCallRequest{Payload: &testpb.Payload{Body: pattern(i * 77)}}); err != nil {
				t.Fatal(err)
			}
			m, err := duplex.Recv()
			if err != nil || len(m.GetPayload().GetBody()) != i*77 {
				t.Fatalf("turn %d: %d bytes, %v", i, len(m.GetPayload().GetBody()), err)
			}
		}
		duplex.CloseSend()
		if _, err := duplex.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("the end is %v", err)
		}
	})
}

// The app answers while the client still sends: the status arrives, the client is not left sending.
func TestGRPCEarlyStatus(t *testing.T) {
	overGRPC(t, func(t *testing.T, _ *road, _ *grpcApp, c testpb.TestServiceClient, _ *grpc.ClientConn) {
		in, err := c.StreamingInputCall(grpcContext(t))
		if err != nil {
			t.Fatal(err)
		}
		for range 400 {
			if err = in.Send(&testpb.StreamingInputCallRequest{Payload: &testpb.Payload{Body: pattern(100_000)}}); err != nil {
				break
			}
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("sending ended with %v, want EOF: the status is there", err)
		}
		if _, err := in.CloseAndRecv(); status.Code(err) != codes.ResourceExhausted || status.Convert(err).Message() != "too much" {
			t.Errorf("status %v", err)
		}
	})
}

// Deadline and cancellation reach the app; so does a client that vanishes.
func TestGRPCCancellationReachesTheApp(t *testing.T) {
	overGRPC(t, func(t *testing.T, _ *road, a *grpcApp, c testpb.TestServiceClient, conn *grpc.ClientConn) {
		// By deadline. The app knows it from grpc-timeout before it comes.
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := c.UnaryCall(ctx, &testpb.SimpleRequest{FillUsername: true})
		within(t, a.waiting, "the call reaches the app")
		if status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("deadline: %v", err)
		}
		if saw := within(t, a.cancelled, "the app sees the deadline"); !strings.Contains(saw, "deadline true") {
			t.Errorf("the app saw %q", saw)
		}
		// By hand.
		ctx, cancel = context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := c.UnaryCall(ctx, &testpb.SimpleRequest{FillUsername: true})
			done <- err
		}()
		within(t, a.waiting, "the call reaches the app")
		left := time.Now()
		cancel()
		if err := within(t, done, "the call returns"); status.Code(err) != codes.Canceled {
			t.Errorf("cancel: %v", err)
		}
		if saw := within(t, a.cancelled, "the app sees the cancel"); !strings.HasPrefix(saw, "context canceled") || time.Since(left) > soon {
			t.Errorf("the app saw %q after %v", saw, time.Since(left))
		}
		// In the middle of a stream.
		ctx, cancel = context.WithCancel(t.Context())
		duplex, err := c.FullDuplexCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		duplex.Send(&testpb.StreamingOutputCallRequest{})
		if _, err := duplex.Recv(); err != nil {
			t.Fatal(err)
		}
		left = time.Now()
		cancel()
		if saw := within(t, a.cancelled, "the app sees the stream cancelled"); saw != "Canceled" || time.Since(left) > soon {
			t.Errorf("the app saw %q after %v", saw, time.Since(left))
		}
		// The whole client.
		go c.UnaryCall(t.Context(), &testpb.SimpleRequest{FillUsername: true})
		within(t, a.waiting, "the call reaches the app")
		left = time.Now()
		conn.Close()
		if saw := within(t, a.cancelled, "the app sees that the client is gone"); !strings.HasPrefix(saw, "context canceled") || time.Since(left) > soon {
			t.Errorf("the app saw %q after %v", saw, time.Since(left))
		}
	})
}

// An app that is not there is an error that gRPC understands, not a hang.
func TestGRPCAppNotRunning(t *testing.T) {
	needsBinary(t)
	overRoads(t, closedPort, func(t *testing.T, r *road) {
		conn, err := grpc.NewClient("passthrough:///"+r.addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(r.host))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = testpb.NewTestServiceClient(conn).UnaryCall(grpcContext(t), &testpb.SimpleRequest{})
		if status.Code(err) != codes.Unavailable {
			t.Errorf("got %v, want Unavailable (502 in HTTP)", err)
		}
	}, "--upstream-protocol", "h2c")
}

// closedPort is an app that is not running.
func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
