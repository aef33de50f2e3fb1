#include "traffic.h"

#include <algorithm>

namespace lunet::count {

namespace {

constexpr uint32_t kPort = 7;
/** IPv4 and TCP with timestamps. */
constexpr uint32_t kHeaderBytes = 52;
constexpr uint32_t kObjectBytes = 65536;
constexpr uint32_t kTurnsAtMost = 1000;

/** The one there is: the callback has no room for it. */
Traffic* current = nullptr;

void send(End& end, uint32_t handle, uint32_t at, uint32_t bytes) {
  expect(static_cast<int32_t>(Z_coreZ_send(end.use(), handle, at, bytes)) >= 0, "send() failed");
}

/** What a loop does in a turn. */
void work(End& end) {
  const uint32_t frames = receive(end);
  const Counted counted;
  Z_coreZ_ingest(end.use(), frames, nowUs);
  Z_coreZ_flush(end.use(), nowUs);
}

}  // namespace

Traffic::Traffic(uint32_t mtu, uint32_t flags, bool echo) : mss_(mtu - kHeaderBytes), echo_(echo) {
  current = this;
  openPair(server_, client_, mtu, flags);
  server_.onEvent = onServer;
  client_.onEvent = onClient;
  const uint32_t any = server_.get(CTL_SCRATCH_AT);
  memset(server_.bytes + any, 0, 16);
  listener_ = Z_coreZ_listen(server_.use(), any, kPort, 16, SOCK_INLINE);
  expect(static_cast<int32_t>(listener_) >= 0, "listen() failed");
  object_ = Z_coreZ_alloc(client_.use(), kObjectBytes);
  expect(object_ != 0, "alloc() failed");
}

Traffic::~Traffic() {
  closeEnd(server_);
  closeEnd(client_);
}

void Traffic::onServer(End& end, uint32_t handle, uint32_t kind, uint32_t a, uint32_t b) {
  Traffic& t = *current;
  if (kind == EV_DATA) {
    if (t.echo_) Z_coreZ_send(&end.core, handle, a, b);
    else t.received_ += b;
    Z_coreZ_free(&end.core, a);
  } else if (kind == EV_ACCEPT) t.accepted_ = a;
  else if (kind == EV_EOF) Z_coreZ_close(&end.core, handle);
  else if (kind == EV_CLOSED) t.ended_++;
}

void Traffic::onClient(End& end, uint32_t, uint32_t kind, uint32_t a, uint32_t b) {
  Traffic& t = *current;
  if (kind == EV_DATA) {
    t.missing_ -= b;
    Z_coreZ_free(&end.core, a);
  } else if (kind == EV_CONNECT) t.connected_ = 1;
}

void Traffic::turn(End& end) {
  transmit(end);
  nowUs += 1;
  work(end);
}

void Traffic::open() {
  connected_ = accepted_ = 0;
  const uint32_t to = addressOf(client_, 1);
  {
    const Counted counted;
    handle_ = Z_coreZ_connect(client_.use(), to, kPort, 0, 0, SOCK_INLINE);
  }
  expect(static_cast<int32_t>(handle_) >= 0, "connect() failed");
  for (uint32_t i = 0; i < kTurnsAtMost && !(connected_ && accepted_); i++) {
    turn(client_);
    turn(server_);
  }
  expect(connected_ && accepted_, "no connection");
}

void Traffic::close() {
  {
    const Counted counted;
    Z_coreZ_close(client_.use(), handle_);
    Z_coreZ_flush(client_.use(), nowUs);
  }
  for (uint32_t i = 0; i < 4; i++) {
    turn(client_);
    turn(server_);
  }
}

void Traffic::rpc(uint32_t size, uint32_t operations) {
  for (uint32_t i = 0; i < operations; i++) {
    missing_ = size;
    {
      const Counted counted;
      send(client_, handle_, object_, size);
      Z_coreZ_flush(client_.use(), nowUs);
    }
    while (missing_ != 0) {
      turn(client_);
      turn(server_);
    }
  }
}

uint32_t Traffic::stream(Part part, uint32_t burst, uint32_t operations) {
  const bool wanted = measuring;
  uint32_t done = 0;
  while (done < operations) {
    measuring = wanted && part == Part::out;
    {
      const Counted counted;
      send(client_, handle_, object_, std::min(burst * mss_, kObjectBytes));
      Z_coreZ_flush(client_.use(), nowUs);
    }
    const uint32_t segments = transmit(client_);
    nowUs += 10;
    measuring = wanted && part == Part::in;
    work(server_);
    const uint32_t acks = transmit(server_);
    measuring = wanted && part == Part::acks && acks != 0;
    work(client_);
    done += part == Part::acks ? acks : segments;
  }
  measuring = wanted;
  return done;
}

uint32_t Traffic::bulk(uint32_t segments) {
  const uint32_t from = received_;
  while (received_ - from < segments * mss_) {
    {
      const Counted counted;
      while (static_cast<int32_t>(Z_coreZ_send(client_.use(), handle_, object_, kObjectBytes)) > 0) continue;
      Z_coreZ_flush(client_.use(), nowUs);
    }
    turn(client_);
    turn(server_);
  }
  return (received_ - from) / mss_;
}

}  // namespace lunet::count
