#include "engine/ranks/rank_store.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

constexpr const char* kFailedKey = "failed";
constexpr const char* kGreeting = "koine ranks 1";
constexpr std::uint32_t kLongestMessage = 16 << 20;

// A message: its length, then each text behind its own length; lengths are four bytes, least first.
void append_length(std::string& message, std::size_t length) {
  for (int byte = 0; byte < 4; ++byte) message += static_cast<char>(length >> (8 * byte) & 0xff);
}

std::uint32_t read_length(const char* bytes) {
  std::uint32_t length = 0;
  for (int byte = 3; byte >= 0; --byte) length = length << 8 | static_cast<unsigned char>(bytes[byte]);
  return length;
}

std::string message_of(const std::vector<std::string>& texts) {
  std::string body;
  for (const std::string& text : texts) {
    append_length(body, text.size());
    body += text;
  }
  std::string message;
  append_length(message, body.size());
  return message + body;
}

/// The texts of the message that `input` begins with, which is taken from it; nothing where it is not whole. Error where it
/// is none.
std::optional<std::vector<std::string>> take_message(std::string& input) {
  if (input.size() < 4) return std::nullopt;
  const std::size_t length = read_length(input.data());
  if (length > kLongestMessage) throw Error("what came is no message of koine's");
  if (input.size() < 4 + length) return std::nullopt;
  std::vector<std::string> texts;
  for (std::size_t at = 4; at < 4 + length;) {
    if (at + 4 > 4 + length) throw Error("what came is no message of koine's");
    const std::size_t size = read_length(input.data() + at);
    if (at + 4 + size > 4 + length) throw Error("what came is no message of koine's");
    texts.push_back(input.substr(at + 4, size));
    at += 4 + size;
  }
  input.erase(0, 4 + length);
  return texts;
}

bool send_all(int descriptor, const std::string& message) {
  for (std::size_t sent = 0; sent < message.size();) {
    const ssize_t now = send(descriptor, message.data() + sent, message.size() - sent, MSG_NOSIGNAL);
    if (now < 0 && errno == EINTR) continue;
    if (now <= 0) return false;
    sent += static_cast<std::size_t>(now);
  }
  return true;
}

/// False at the end of the connection, or after `milliseconds`.
bool receive_some(int descriptor, std::string& input, int milliseconds) {
  pollfd waiting = {descriptor, POLLIN, 0};
  int able = 0;
  while ((able = poll(&waiting, 1, milliseconds)) < 0 && errno == EINTR) {
  }
  if (able <= 0) return false;
  char bytes[4096];
  ssize_t count = 0;
  while ((count = recv(descriptor, bytes, sizeof bytes, 0)) < 0 && errno == EINTR) {
  }
  if (count <= 0) return false;
  input.append(bytes, static_cast<std::size_t>(count));
  return true;
}

std::string address_text(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, text, sizeof text);
  } else {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, text, sizeof text);
  }
  return text;
}

/// -1 where nobody listens, or the machine is not known (yet).
int connect_to(const std::string& host, int port) {
  addrinfo wanted = {};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &found) != 0) return -1;
  int descriptor = -1;
  for (const addrinfo* one = found; one != nullptr && descriptor < 0; one = one->ai_next) {
    descriptor = socket(one->ai_family, one->ai_socktype | SOCK_CLOEXEC, one->ai_protocol);
    if (descriptor >= 0 && connect(descriptor, one->ai_addr, one->ai_addrlen) != 0) {
      close(descriptor);
      descriptor = -1;
    }
  }
  freeaddrinfo(found);
  const int yes = 1;
  if (descriptor >= 0) setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  return descriptor;
}

}  // namespace

// --- a folder -------------------------------------------------------------------------------------------------------------

FolderStore::FolderStore(fs::path folder, std::string run) : folder_(std::move(folder)), run_(std::move(run)) {
  std::replace(run_.begin(), run_.end(), '/', '_');
  make_directory(folder_);
}

fs::path FolderStore::path_of(const std::string& key) const {
  std::string name = run_ + "." + key;
  std::replace(name.begin(), name.end(), '/', '_');
  return folder_ / name;
}

void FolderStore::set(const std::string& key, const std::string& value) {
  const fs::path path = path_of(key);
  if (key == kFailedKey && fs::exists(path)) return;  // who was first has the cause
  // No sync: it is for processes, not for after a crash.
  static std::atomic<std::uint64_t> number = 0;
  char machine[256] = "";
  gethostname(machine, sizeof machine - 1);
  const fs::path partial = path.string() + concatenate(".", machine, "-", getpid(), "-", ++number, ".partial");
  const int file = open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  bool written = file >= 0 && write(file, value.data(), value.size()) == static_cast<ssize_t>(value.size());
  if (file >= 0) written = close(file) == 0 && written;
  if (!written || rename(partial.c_str(), path.c_str()) != 0)
    throw Error(
        concatenate("the folder where ranks meet, ", folder_.string(), ", cannot be written: ", std::strerror(errno)));
}

std::optional<std::string> FolderStore::get(const std::string& key) {
  const int file = open(path_of(key).c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  std::string text;
  char bytes[4096];
  ssize_t count = 0;
  while ((count = read(file, bytes, sizeof bytes)) > 0) text.append(bytes, static_cast<std::size_t>(count));
  close(file);
  return text;
}

// --- the server -----------------------------------------------------------------------------------------------------------

RankServer::RankServer(int port, std::string run) : run_(std::move(run)) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(listener_ >= 0, "no socket for the ranks to meet at: ", std::strerror(errno));
  const int yes = 1;
  setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  const bool listens =
      bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 && listen(listener_, SOMAXCONN) == 0;
  if (!listens) {
    const std::string reason = std::strerror(errno);
    close(listener_);
    fail_user("ranks cannot meet at port ", port, ": ", reason, "; give another in KOINE_RANKS_PORT");
  }
  thread_ = std::thread([this] { serve(); });
}

RankServer::~RankServer() {
  stop_ = true;
  thread_.join();
  for (const Connection& connection : connections_) close(connection.descriptor);
  close(listener_);
}

void RankServer::serve() {
  while (!stop_) {
    std::vector<pollfd> waiting = {{listener_, POLLIN, 0}};
    for (const Connection& connection : connections_) waiting.push_back({connection.descriptor, POLLIN, 0});
    if (poll(waiting.data(), waiting.size(), 50) <= 0) continue;
    for (std::size_t i = waiting.size(); i-- > 1;) {
      if (waiting[i].revents == 0 || read_from(connections_[i - 1])) continue;
      lose(connections_[i - 1]);
      connections_.erase(connections_.begin() + static_cast<std::ptrdiff_t>(i - 1));
    }
    if (waiting.front().revents != 0) accept_one();
  }
}

void RankServer::accept_one() {
  const int descriptor = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (descriptor < 0) return;
  const int yes = 1;
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  connections_.push_back({descriptor, -1, ""});
}

/// False when it is at its end.
bool RankServer::read_from(Connection& connection) {
  if (!receive_some(connection.descriptor, connection.input, 0)) return false;
  try {
    while (const std::optional<std::vector<std::string>> request = take_message(connection.input)) {
      if (!answer(connection, *request)) return false;
    }
  } catch (const Error&) {
    return false;  // somebody else's
  }
  return true;
}

bool RankServer::answer(Connection& connection, const std::vector<std::string>& request) {
  const auto is = [&](const char* what, std::size_t texts) { return request.size() == texts && request[0] == what; };
  std::vector<std::string> reply = {"ok"};
  if (is(kGreeting, 3)) {
    if (request[1] == run_) {
      connection.rank = std::atoi(request[2].c_str());
    } else {
      reply = {"other", run_};
    }
  } else if (connection.rank < 0) {
    return false;
  } else if (is("set", 3)) {
    if (request[1] == kFailedKey) {
      values_.try_emplace(request[1], request[2]);  // who was first has the cause
    } else {
      values_[request[1]] = request[2];
    }
  } else if (is("get", 2)) {
    const auto found = values_.find(request[1]);
    reply = found == values_.end() ? std::vector<std::string>{"none"} : std::vector<std::string>{"value", found->second};
  } else {
    return false;
  }
  return send_all(connection.descriptor, message_of(reply));
}

void RankServer::lose(Connection& connection) {
  close(connection.descriptor);
  if (connection.rank < 0 || values_.contains(concatenate("left/", connection.rank))) return;
  values_.try_emplace(kFailedKey, concatenate("rank ", connection.rank, " is gone: its connection to rank 0 ended"));
}

// --- the others -----------------------------------------------------------------------------------------------------------

ServedStore::ServedStore(const RankPlace& place)
    : timeout_(place.timeout), place_text_(concatenate(place.host, ":", place.port)) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point deadline =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(place.meeting));
  while ((descriptor_ = connect_to(place.host, place.port)) < 0) {
    if (Clock::now() > deadline) {
      throw Error(concatenate("rank ", place.rank, ": nobody listens at ", place_text_, " after ", place.meeting,
                              " s: rank 0 is missing there (MASTER_ADDR, KOINE_RANKS_PORT)"));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  sockaddr_storage address = {};
  socklen_t length = sizeof address;
  if (getsockname(descriptor_, reinterpret_cast<sockaddr*>(&address), &length) == 0) own_address_ = address_text(address);
  length = sizeof address;
  if (getpeername(descriptor_, reinterpret_cast<sockaddr*>(&address), &length) == 0) server_address_ = address_text(address);
  const std::vector<std::string> reply = ask({kGreeting, place.run, std::to_string(place.rank)});
  if (reply.size() == 2 && reply[0] == "other") {
    close(descriptor_);
    fail_user("at ", place_text_, " ranks of another run meet (\"", reply[1], "\", this is \"", place.run,
              "\"); give another port in KOINE_RANKS_PORT");
  }
}

ServedStore::~ServedStore() { close(descriptor_); }

std::vector<std::string> ServedStore::ask(const std::vector<std::string>& request) {
  const std::lock_guard lock(mutex_);
  std::string input;
  if (send_all(descriptor_, message_of(request))) {
    while (true) {
      std::optional<std::vector<std::string>> reply = take_message(input);
      if (reply.has_value()) return *std::move(reply);
      if (!receive_some(descriptor_, input, static_cast<int>(1000 * timeout_))) break;
    }
  }
  throw Error(concatenate("rank 0 is gone: it does not answer at ", place_text_));
}

void ServedStore::set(const std::string& key, const std::string& value) { ask({"set", key, value}); }

std::optional<std::string> ServedStore::get(const std::string& key) {
  const std::vector<std::string> reply = ask({"get", key});
  if (reply.size() == 2 && reply[0] == "value") return reply[1];
  return std::nullopt;
}

}  // namespace koine
