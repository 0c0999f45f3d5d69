// Peer redis: a list on a server of its own that listens on a Unix socket and keeps nothing on
// disk. Messages are pushed and popped 50 at a time: pushes as one pipeline, pops by LPOP with a
// count, or BLPOP where the list is empty. A popped message is gone; there are no leases.
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <memory>
#include <signal.h>
#include <sys/prctl.h>
#include <thread>
#include <unistd.h>

#include "many_processes.hpp"

namespace {

using namespace std::chrono_literals;

constexpr int batch = 50;
constexpr long long most_waiting = 10'000;  // a list has no bound of its own

struct FreeReply {
    void operator()(redisReply* reply) const { ::freeReplyObject(reply); }
};
struct FreeContext {
    void operator()(redisContext* context) const { ::redisFree(context); }
};
using Reply = std::unique_ptr<redisReply, FreeReply>;
using Context = std::unique_ptr<redisContext, FreeContext>;

class Server {
 public:
    Server() : server_{-1, [this] { become_server(); }} {
        // It takes a moment until it listens.
        for (int i = 0; i < 5000; ++i) {
            const Context context{::redisConnectUnix(socket_.c_str())};
            if (context != nullptr && context->err == 0) return;
            std::this_thread::sleep_for(1ms);
        }
        throw std::runtime_error("the Redis server does not listen");
    }
    ~Server() { ::unlink(socket_.c_str()); }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    [[nodiscard]] const std::string& socket() const { return socket_; }

 private:
    static std::string directory() {
        const char* const chosen = std::getenv("TMPDIR");
        return chosen != nullptr ? chosen : "/tmp";
    }
    void become_server() const {
        // Its log would be taken for the result.
        ::dup2(::open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
        // The program in the package redis-tools is the server too, when it is called so. The
        // package redis-server would add a service that starts with the machine.
        ::execl("/usr/bin/redis-check-rdb", "redis-server", "--port", "0", "--unixsocket",
                socket_.c_str(), "--save", "", "--appendonly", "no", static_cast<char*>(nullptr));
        throw std::system_error(errno, std::generic_category(), "redis-server");
    }

    const std::string socket_ = directory() + "/" + bench::ipc_name() + ".redis";
    bench::Child server_;
};

class List {
 public:
    explicit List(const bench::Options&, std::size_t /*each*/ = 1) {
        if (::access("/usr/bin/redis-check-rdb", X_OK) != 0)
            throw bench::Unavailable("redis-tools is not installed");
        server_ = std::make_unique<Server>();
    }
    void attach_sender(std::size_t /*index*/ = 0) { connect(); }
    void attach_receiver(std::size_t /*index*/ = 0) { connect(); }

    void send(std::span<const std::byte> message) {
        ::redisAppendCommand(context_.get(), "RPUSH messages %b", message.data(), message.size());
        if (++pipelined_ < batch) return;
        long long waiting = 0;
        for (; pipelined_ > 0; --pipelined_) {
            void* reply = nullptr;
            ::redisGetReply(context_.get(), &reply);
            waiting = checked(reply, REDIS_REPLY_INTEGER)->integer;
        }
        // Letting it grow would only take the server's time from the receivers.
        if (waiting > most_waiting) std::this_thread::sleep_for(200us);
    }

    std::size_t receive(std::span<std::byte> buffer) {
        if (popped_ == nullptr || next_ == popped_->elements) pop();
        const redisReply& message = *popped_->element[next_++];
        std::memcpy(buffer.data(), message.str, std::min(message.len, buffer.size()));
        return message.len;
    }

 private:
    void connect() {
        context_.reset(::redisConnectUnix(server_->socket().c_str()));
        if (context_ == nullptr || context_->err != 0)
            throw std::runtime_error("cannot connect to the Redis server");
    }
    static Reply checked(void* reply, int type) {
        Reply owned{static_cast<redisReply*>(reply)};
        if (owned == nullptr) throw std::runtime_error("the Redis server does not answer");
        if (owned->type != type && owned->type != REDIS_REPLY_NIL)
            throw std::runtime_error("the Redis server gave a wrong answer");
        return owned;
    }
    void pop() {
        next_ = 0;
        popped_ =
            checked(::redisCommand(context_.get(), "LPOP messages %d", batch), REDIS_REPLY_ARRAY);
        if (popped_->type == REDIS_REPLY_ARRAY) return;
        popped_ = checked(::redisCommand(context_.get(), "BLPOP messages 0"), REDIS_REPLY_ARRAY);
        next_ = 1;  // after the name of the list
    }

    std::unique_ptr<Server> server_;
    Context context_;
    int pipelined_ = 0;
    Reply popped_;
    std::size_t next_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv,
                      {{"queue_put_get_ack", bench::messages_per_second<List>},
                       {"queue_put_get_ack_4x4", bench::messages_per_second_of_many<List, 4>}});
}
