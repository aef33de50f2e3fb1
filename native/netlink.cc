// SPDX-License-Identifier: Apache-2.0
// A raw NETLINK_ROUTE socket on libuv: datagrams in, datagrams out, and word of lost notifications. Building and
// parsing messages is the host's (src/host/netlink/).
//
// Life of a socket: the NetlinkSocket is shared by the JS functions of the object returned to the caller and by the
// uv_poll_t inside it, which keeps it alive until libuv says that the handle is closed. close() and the end of the
// environment (a worker thread's too) do the same thing, and doing it twice is harmless.

#include "netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <memory>
#include <string>

#include "error.h"
#include <vector>

namespace lunet {
namespace {

/** Kernel dumps come in pieces of at most 32 KiB; notifications are far smaller. */
constexpr size_t kReceiveBytes = 64 * 1024;
/** Room for a burst of notifications, so that an overrun is an exception. */
constexpr int kSocketBufferBytes = 4 * 1024 * 1024;
/** Datagrams handed to JS in one wakeup: the data path shares this thread and must get its turn. */
constexpr int kDatagramsPerWakeup = 16;

void throwSystemError(napi_env env, int error, const char* syscall) {
  const char* code = uv_err_name(-error);
  const std::string text = std::string(syscall) + " " + code + ": " + uv_strerror(-error) + " (netlink)";
  napi_value codeValue, message, object, name, number;
  napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &codeValue);
  napi_create_string_utf8(env, text.c_str(), text.size(), &message);
  napi_create_error(env, codeValue, message, &object);
  napi_create_string_utf8(env, syscall, NAPI_AUTO_LENGTH, &name);
  napi_set_named_property(env, object, "syscall", name);
  napi_create_int32(env, -error, &number);
  napi_set_named_property(env, object, "errno", number);
  napi_throw(env, object);
}

class NetlinkSocket : public std::enable_shared_from_this<NetlinkSocket> {
 public:
  explicit NetlinkSocket(napi_env env) : env_(env), buffer_(kReceiveBytes) {}
  NetlinkSocket(const NetlinkSocket&) = delete;
  NetlinkSocket& operator=(const NetlinkSocket&) = delete;
  ~NetlinkSocket() {
    if (fd_ >= 0) ::close(fd_);
  }

  /** Opens and binds the socket and begins to poll it. On failure the JS exception is set. */
  bool open(uint32_t groups, napi_value onMessage, napi_value onOverrun) {
    fd_ = ::socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd_ < 0) return fail("socket");
    // FORCE passes net.core.rmem_max and wants CAP_NET_ADMIN; without it the kernel's limit must do.
    if (::setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &kSocketBufferBytes, sizeof kSocketBufferBytes) != 0) {
      ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &kSocketBufferBytes, sizeof kSocketBufferBytes);
    }
    const int on = 1;
    // Extended acks and capped echoes make errors readable; strict checking makes the kernel apply dump filters. All
    // three are conveniences that an old kernel may lack: the host checks what it receives either way.
    ::setsockopt(fd_, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    ::setsockopt(fd_, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    ::setsockopt(fd_, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);

    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = groups;
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return fail("bind");
    socklen_t length = sizeof address;
    if (::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length) != 0) return fail("getsockname");
    portId_ = address.nl_pid;

    uv_loop_t* loop = nullptr;
    if (napi_get_uv_event_loop(env_, &loop) != napi_ok) {
      errno = ENOSYS;
      return fail("napi_get_uv_event_loop");
    }
    int rc = uv_poll_init(loop, &poll_, fd_);
    if (rc != 0) {
      errno = -rc;
      return fail("uv_poll_init");
    }
    // From here on the handle is in the loop and only uv_close() may end it.
    self_ = shared_from_this();
    poll_.data = this;
    napi_value resourceName, resource;
    napi_create_string_utf8(env_, "lunet:netlink", NAPI_AUTO_LENGTH, &resourceName);
    napi_create_object(env_, &resource);
    napi_async_init(env_, resource, resourceName, &context_);
    napi_create_reference(env_, resource, 1, &resource_);
    napi_create_reference(env_, onMessage, 1, &onMessage_);
    napi_create_reference(env_, onOverrun, 1, &onOverrun_);
    napi_add_async_cleanup_hook(env_, &NetlinkSocket::onEnvironmentEnd, this, &cleanup_);
    rc = uv_poll_start(&poll_, UV_READABLE, &NetlinkSocket::onReadable);
    if (rc != 0) {
      close();
      errno = -rc;
      return fail("uv_poll_start");
    }
    return true;
  }

  uint32_t portId() const { return portId_; }
  bool closed() const { return self_ == nullptr || closing_; }

  void send(napi_env env, const uint8_t* data, size_t length) {
    if (closed()) return throwSystemError(env, EBADF, "send");
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    ssize_t sent;
    do {
      sent = ::sendto(fd_, data, length, 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) throwSystemError(env, errno, "send");
  }

  void setReferenced(bool referenced) {
    if (closed()) return;
    if (referenced) {
      uv_ref(reinterpret_cast<uv_handle_t*>(&poll_));
    } else {
      uv_unref(reinterpret_cast<uv_handle_t*>(&poll_));
    }
  }

  void close() {
    if (closed()) return;
    closing_ = true;
    uv_poll_stop(&poll_);
    uv_close(reinterpret_cast<uv_handle_t*>(&poll_), &NetlinkSocket::onClosed);
    dropReferences();
  }

 private:
  bool fail(const char* syscall) {
    throwSystemError(env_, errno, syscall);
    return false;
  }

  void dropReferences() {
    for (napi_ref* reference : {&onMessage_, &onOverrun_, &resource_}) {
      if (*reference != nullptr) napi_delete_reference(env_, *reference);
      *reference = nullptr;
    }
    if (context_ != nullptr) napi_async_destroy(env_, context_);
    context_ = nullptr;
  }

  static void onClosed(uv_handle_t* handle) {
    auto* socket = static_cast<NetlinkSocket*>(handle->data);
    ::close(socket->fd_);
    socket->fd_ = -1;
    if (socket->cleanup_ != nullptr) napi_remove_async_cleanup_hook(socket->cleanup_);
    socket->cleanup_ = nullptr;
    const std::shared_ptr<NetlinkSocket> last = std::move(socket->self_);
  }

  static void onEnvironmentEnd(napi_async_cleanup_hook_handle, void* data) {
    // onClosed() removes the hook, which tells Node that this cleanup is complete.
    static_cast<NetlinkSocket*>(data)->close();
  }

  static void onReadable(uv_poll_t* poll, int status, int) {
    const std::shared_ptr<NetlinkSocket> socket = static_cast<NetlinkSocket*>(poll->data)->shared_from_this();
    napi_handle_scope scope;
    if (napi_open_handle_scope(socket->env_, &scope) != napi_ok) return;
    socket->receive();
    napi_close_handle_scope(socket->env_, scope);
    // libuv stops polling when the socket has a pending error, as after an overrun; recvmsg() has taken it.
    if (status < 0 && !socket->closing_) uv_poll_start(poll, UV_READABLE, &NetlinkSocket::onReadable);
  }

  void receive() {
    for (int i = 0; i < kDatagramsPerWakeup && !closing_; i++) {
      sockaddr_nl from{};
      iovec part{buffer_.data(), buffer_.size()};
      msghdr message{};
      message.msg_name = &from;
      message.msg_namelen = sizeof from;
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      const ssize_t length = ::recvmsg(fd_, &message, 0);
      if (length < 0) {
        if (errno == EINTR) continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
          // The kernel drops notifications silently from the overrun until the queue has been emptied: only now
          // would a dump be followed by every change to what it showed.
          if (overrun_) {
            overrun_ = false;
            call(onOverrun_, nullptr);
          }
          return;
        }
        // ENOBUFS: notifications were lost. Anything else is treated alike: what we know may be out of date.
        overrun_ = true;
        continue;
      }
      // Only the kernel speaks for the kernel (nl_pid 0).
      if (message.msg_namelen < sizeof from || from.nl_pid != 0) continue;
      if ((message.msg_flags & MSG_TRUNC) != 0) {
        overrun_ = true;
        continue;
      }
      deliver(static_cast<size_t>(length));
    }
  }

  void deliver(size_t length) {
    napi_handle_scope scope;
    if (napi_open_handle_scope(env_, &scope) != napi_ok) return;
    void* data = nullptr;
    napi_value backing, bytes;
    if (napi_create_arraybuffer(env_, length, &data, &backing) == napi_ok) {
      memcpy(data, buffer_.data(), length);
      if (napi_create_typedarray(env_, napi_uint8_array, length, backing, 0, &bytes) == napi_ok) {
        call(onMessage_, bytes);
      }
    }
    napi_close_handle_scope(env_, scope);
  }

  /** Calls back into JS; what the callback throws becomes an 'uncaughtException' as from any other event. */
  void call(napi_ref callback, napi_value argument) {
    napi_value function, receiver, result;
    if (napi_get_reference_value(env_, callback, &function) != napi_ok || function == nullptr) return;
    napi_get_reference_value(env_, resource_, &receiver);
    const napi_status status =
        napi_make_callback(env_, context_, receiver, function, argument == nullptr ? 0 : 1, &argument, &result);
    if (status != napi_pending_exception) return;
    napi_value error;
    if (napi_get_and_clear_last_exception(env_, &error) == napi_ok) napi_fatal_exception(env_, error);
  }

  napi_env env_;
  uv_poll_t poll_{};
  std::vector<uint8_t> buffer_;
  /** Held while libuv knows the handle. */
  std::shared_ptr<NetlinkSocket> self_;
  napi_async_cleanup_hook_handle cleanup_ = nullptr;
  napi_async_context context_ = nullptr;
  napi_ref resource_ = nullptr;
  napi_ref onMessage_ = nullptr;
  napi_ref onOverrun_ = nullptr;
  uint32_t portId_ = 0;
  int fd_ = -1;
  bool closing_ = false;
  bool overrun_ = false;
};

Napi::Value openNetlink(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (info.Length() != 3 || !info[0].IsNumber() || !info[1].IsFunction() || !info[2].IsFunction()) {
    return typeError(env, "openNetlink(groups: number, onMessage: (bytes) => void, onOverrun: () => void)");
  }
  auto socket = std::make_shared<NetlinkSocket>(env);
  if (!socket->open(info[0].As<Napi::Number>().Uint32Value(), info[1], info[2])) return Napi::Value();

  Napi::Object object = Napi::Object::New(env);
  object.Set("pid", Napi::Number::New(env, socket->portId()));
  object.Set("send", Napi::Function::New(
                         env,
                         [socket](const Napi::CallbackInfo& call) {
                           if (call.Length() != 1 || !call[0].IsTypedArray() ||
                               call[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
                             typeError(call.Env(), "send(bytes: Uint8Array)");
                             return;
                           }
                           const auto bytes = call[0].As<Napi::Uint8Array>();
                           socket->send(call.Env(), bytes.Data(), bytes.ByteLength());
                         },
                         "send"));
  object.Set("ref", Napi::Function::New(
                        env, [socket](const Napi::CallbackInfo&) { socket->setReferenced(true); }, "ref"));
  object.Set("unref", Napi::Function::New(
                          env, [socket](const Napi::CallbackInfo&) { socket->setReferenced(false); }, "unref"));
  object.Set("close", Napi::Function::New(
                          env, [socket](const Napi::CallbackInfo&) { socket->close(); }, "close"));
  return object;
}

}  // namespace

void initNetlink(Napi::Env env, Napi::Object exports) {
  exports.Set("openNetlink", Napi::Function::New(env, openNetlink, "openNetlink"));
}

}  // namespace lunet
