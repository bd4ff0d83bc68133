// Sends spans with OpenTelemetry's own JSON exporter and prints what it made, one span a line.
// Usage: node send.mjs URL SERVICE none|gzip
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';

const [url, service, compression] = process.argv.slice(2);
const made = new InMemorySpanExporter();
const exporter = new OTLPTraceExporter({ url: `${url}/v1/traces`, compression });
const failures = [];
const watched = {
  export: (spans, done) =>
    exporter.export(spans, (result) => {
      if (result.code !== 0) failures.push(String(result.error));
      done(result);
    }),
  forceFlush: () => exporter.forceFlush?.(),
  shutdown: () => exporter.shutdown(),
};
const provider = new BasicTracerProvider({
  resource: resourceFromAttributes({ 'service.name': service, replica: 3, shares: [0.5, 1.25] }),
  spanProcessors: [new SimpleSpanProcessor(made), new BatchSpanProcessor(watched)],
});
const tracer = provider.getTracer('a.library', '1.2.3');

const root = tracer.startSpan('root', {
  kind: SpanKind.SERVER,
  attributes: {
    text: 'Grüße, 世界 \u{1F600}',
    'text.empty': '',
    'text.control': 'a\u0000b\nc\t\'"\\',
    'text.digits': '5',
    'text.long': 'x'.repeat(20000),
    'bool.true': true,
    'bool.false': false,
    int: 42,
    'int.zero': 0,
    'int.negative': -1,
    'int.large': Number.MAX_SAFE_INTEGER,
    double: 0.1,
    'double.small': 5e-324,
    'double.beyond.int': 1e21,
    'double.largest': Number.MAX_VALUE,
    texts: ['a', '', 'ü\'"\\'],
    bools: [true, false],
    ints: [0, -1],
    doubles: [0.5, -2.25],
    'gen_ai.request.model': 'a-model',
    'input.value': 'a secret question',
    __proto: '=cmd',
  },
});
root.addEvent('an event', { n: 1, x: 0.5, t: '5', list: ['a'], b: false });
const inRoot = trace.setSpan(ROOT_CONTEXT, root);
for (const kind of [0, 1, 2, 3, 4]) {
  const link = { context: root.spanContext(), attributes: { why: 'retry', n: 0 } };
  tracer.startSpan(`kind ${kind}`, { kind, links: [link] }, inRoot).end();
}
const failed = tracer.startSpan('failed', {}, inRoot);
failed.setStatus({ code: SpanStatusCode.ERROR, message: 'it is wrong' });
failed.end();
root.end();

const nanos = ([seconds, rest]) => String(BigInt(seconds) * 1000000000n + BigInt(rest));
for (const span of made.getFinishedSpans()) {
  const { traceId, spanId } = span.spanContext();
  console.log(
    JSON.stringify({
      traceId,
      spanId,
      parentSpanId: span.parentSpanContext?.spanId ?? '0000000000000000',
      name: span.name,
      kind: span.kind,
      start: nanos(span.startTime),
      end: nanos(span.endTime),
      status: span.status,
      attributes: span.attributes,
      resource: span.resource.attributes,
      scope: [span.instrumentationScope.name, span.instrumentationScope.version],
      events: span.events.map((event) => [nanos(event.time), event.name, event.attributes]),
      links: span.links.map((link) => [
        link.context.traceId,
        link.context.spanId,
        link.attributes,
      ]),
    }),
  );
}
await provider.forceFlush();
await provider.shutdown();
if (failures.length > 0) {
  console.error(failures.join('\n'));
  process.exit(1);
}
