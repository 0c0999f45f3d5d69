#include <green/errors.hpp>
#include <green/mutex.hpp>

namespace green {

class Mutex::Waiter final : public Semaphore::Acquire {
 public:
    explicit Waiter(Mutex& mutex) noexcept : Acquire{mutex.permit_}, mutex_{&mutex} {}
    void describe(std::string& into) const override {
        into += "a mutex";
        mutex_->owner_.describe(into);
    }

 private:
    Mutex* mutex_;
};

bool Mutex::wait(Deadline deadline) {
    if (owner_.is_current()) refuse("lock");
    Waiter node{*this};
    return detail::park(node, deadline);
}

void Mutex::refuse(const char* what) const {
    std::string text = what;
    if (owner_.is_nobody()) {
        text += " of a mutex that nobody holds";
    } else {
        text += " of a mutex";
        owner_.describe(text);
    }
    throw UsageError(text);
}

}  // namespace green
