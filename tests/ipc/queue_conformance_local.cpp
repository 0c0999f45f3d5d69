// The queue in shared memory, as a program without a supervisor has it.

#include <csignal>
#include <cstdlib>
#include <sys/wait.h>
#include <unistd.h>

#include "queue_conformance.hpp"

namespace queue_conformance {
namespace {

using green::ipc::LocalQueue;

class Local final : public UnderTest {
 public:
    Local(const std::string& name, const Wish& wish) : queue_{name, options_for(wish)} {}

    green::ipc::RawQueue join() override { return green::ipc::RawQueue{queue_.grant()}; }

    int die_with_a_message() override {
        auto grant = queue_.grant();
        const auto owner = grant.owner;
        const pid_t pid = ::fork();
        if (pid == 0) {
            try {
                green::ipc::RawQueue queue{std::move(grant)};
                const auto lease = queue.next(green::Deadline::passed());
                if (lease) ::raise(SIGKILL);
            } catch (...) {
            }
            ::_exit(1);
        }
        int how = 0;
        if (::waitpid(pid, &how, 0) != pid || !WIFSIGNALED(how)) return -1;
        queue_.repair(owner);
        return pid;
    }

    void set_dead_letter(UnderTest& other, std::uint32_t max_deliveries) override {
        queue_.set_dead_letter(dynamic_cast<Local&>(other).queue_, max_deliveries);
    }
    void close() override { queue_.close(); }
    bool drain(green::Deadline deadline) override { return queue_.drain(deadline); }
    bool empty() override { return queue_.empty(); }

 private:
    static LocalQueue::Options options_for(const Wish& wish) {
        LocalQueue::Options options;
        options.capacity = wish.capacity;
        options.lease = wish.lease;
        options.dedup_window = wish.dedup_window;
        options.time_to_live = wish.time_to_live;
        options.when_full = wish.when_full;
        options.at_most_once = wish.at_most_once;
        return options;
    }

    LocalQueue queue_;
};

}  // namespace

const std::vector<Backend>& backends() {
    static const std::vector<Backend> all{
        {"shared memory", [](const std::string& queue, const Wish& wish) {
             return std::make_unique<Local>(queue, wish);
         }}};
    return all;
}

}  // namespace queue_conformance
