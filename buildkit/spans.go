package buildkit

import (
	"context"

	service "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// Spans receives the spans that the embedded engine made of a build with a [Job].Span. It
// is called before [Builder.Build] returns, and may be called by several goroutines.
type Spans func([]*otlp.ResourceSpans)

// spanService is the trace service of OTLP, offered to the engine in the session.
type spanService struct {
	service.UnimplementedTraceServiceServer
	take Spans
}

// Register implements session.Attachable.
func (s *spanService) Register(server *grpc.Server) {
	service.RegisterTraceServiceServer(server, s)
}

// Export implements [service.TraceServiceServer].
func (s *spanService) Export(_ context.Context, in *service.ExportTraceServiceRequest) (*service.ExportTraceServiceResponse, error) {
	s.take(in.ResourceSpans)
	return &service.ExportTraceServiceResponse{}, nil
}
