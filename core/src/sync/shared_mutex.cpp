#include <green/errors.hpp>
#include <green/shared_mutex.hpp>

namespace green {

class SharedMutex::Waiter final : public detail::WaitNode {
 public:
    Waiter(SharedMutex& mutex, Mode mode) noexcept
        : WaitNode{detail::Reach::inside}, mutex_{&mutex}, mode_{mode} {}
    bool arm() override {
        if (mutex_->try_enter(mode_)) return true;
        mutex_->waiters_.push_back(*this);
        return false;
    }
    void disarm() noexcept override {
        if (!linked()) return;
        unlink();
        mutex_->hand_out();  // readers may have stood behind this writer
    }
    void abandon() noexcept override { mutex_->leave(mode_); }
    void describe(std::string& into) const override {
        into += "a shared mutex";
        mutex_->writer_.describe(into);
        if (mutex_->readers_ > 0) into += " of " + std::to_string(mutex_->readers_) + " readers";
    }

 private:
    friend class SharedMutex;
    SharedMutex* mutex_;
    Mode mode_;
};

bool SharedMutex::enter(Mode mode, Deadline deadline) {
    if (try_enter(mode)) return true;
    if (writer_.is_current()) throw UsageError("the caller holds this shared mutex alone already");
    Waiter node{*this, mode};
    return detail::park(node, deadline);
}

bool SharedMutex::try_enter(Mode mode) noexcept {
    // Afterwards only those stand there who cannot go in.
    if (!waiters_.empty()) hand_out();
    if (!waiters_.empty() || !admits(mode)) return false;
    count(mode);
    return true;
}

void SharedMutex::count(Mode mode) noexcept {
    if (mode == Mode::shared) {
        ++readers_;
    } else {
        writing_ = true;
    }
}

void SharedMutex::leave(Mode mode) noexcept {
    if (mode == Mode::shared) {
        --readers_;
    } else {
        writing_ = false;
    }
    hand_out();
}

void SharedMutex::hand_out() noexcept {
    for (Waiter* next = waiters_.first_open(); next != nullptr && admits(next->mode_);
         next = waiters_.first_open()) {
        count(next->mode_);
        next->fire();
    }
}

bool SharedMutex::lock(Deadline deadline) {
    if (!enter(Mode::alone, deadline)) return false;
    writer_.become_current();
    return true;
}

bool SharedMutex::try_lock() {
    if (!try_enter(Mode::alone)) return false;
    writer_.become_current();
    return true;
}

void SharedMutex::unlock() {
    if (!writer_.is_current()) throw UsageError("the caller does not hold this shared mutex alone");
    writer_.clear();
    leave(Mode::alone);
}

bool SharedMutex::lock_shared(Deadline deadline) { return enter(Mode::shared, deadline); }

void SharedMutex::unlock_shared() {
    if (readers_ == 0) throw UsageError("unlock_shared of a shared mutex without readers");
    leave(Mode::shared);
}

}  // namespace green
