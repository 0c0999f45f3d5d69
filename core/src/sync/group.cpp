#include <array>
#include <utility>

#include <green/group.hpp>
#include <green/shield.hpp>

namespace green {

/// Lives from its insertion until its greenlet has ended, or is discarded.
struct Group::Member : detail::ListHook {
    Member(Group& owner, const AnyGreenlet& member, detail::Slots::Slot taken, Role as) noexcept
        : group{&owner}, greenlet{member}, slot{std::move(taken)}, role{as}, end{*this} {}
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;
    virtual ~Member() = default;

    struct End final : detail::EndHook {
        explicit End(Member& owner) noexcept : member{&owner} {}
        void ended(detail::Task&) noexcept override { member->ended(); }
        Member* member;
    };

    void ended() noexcept {
        if (role == Role::member && !group->failed_ && greenlet.outcome() == Outcome::failed) {
            group->failed_ = greenlet;
            group->failure_waiters_.fire_all();
        }
        leave();
    }
    void leave() noexcept;

    Group* group;
    AnyGreenlet greenlet;
    detail::Slots::Slot slot;
    Role role;
    bool shot = false;
    MemberWaits* waits = nullptr;  // in kill()
    End end;
};

/// A member that is started when it is handed its room.
struct Group::QueuedCall final : Member, private detail::Collector {
    QueuedCall(Group& owner, const AnyGreenlet& call) noexcept
        : Member{owner, call, {}, Role::member}, taker{owner.slots_} {
        taker.arm_for(*this);
    }
    void collect(detail::WaitNode&) noexcept override {
        slot = taker.taken();
        greenlet.start();
    }
    detail::Slots::Taker taker;
};

/// A call that waits. The group may go between the moment that ends the wait and the one at which
/// the waiter runs: then nothing of it must be touched any more.
class Group::Visit : public detail::ListHook {
 public:
    enum class For : std::uint8_t { the_end, a_failure };
    Visit(Group& group, For what) noexcept : for_{what} {
        group.come_home();
        group.visits_.push_back(*this);
    }
    [[nodiscard]] bool group_has_gone() const noexcept { return group_has_gone_; }
    /// Of the group that has gone, unless somebody else was told of it.
    [[nodiscard]] std::optional<AnyGreenlet>& failed() noexcept { return failed_; }
    void end(std::optional<AnyGreenlet>& failed) noexcept {
        group_has_gone_ = true;
        if (for_ == For::a_failure) failed_ = std::exchange(failed, std::nullopt);
    }

 private:
    For for_;
    bool group_has_gone_ = false;
    std::optional<AnyGreenlet> failed_;
};

/// While one exists, whoever comes in is shot.
class Group::Killing {
 public:
    Killing(Group& group, const std::exception_ptr& reason) noexcept
        : group_{group}, visit_{group, Visit::For::the_end} {
        ++group.killing_;
        group.killing_reason_ = reason;
    }
    Killing(const Killing&) = delete;
    Killing& operator=(const Killing&) = delete;
    ~Killing() {
        if (visit_.group_has_gone()) return;
        if (--group_.killing_ == 0) group_.killing_reason_ = nullptr;
    }
    [[nodiscard]] const Visit& visit() const noexcept { return visit_; }

 private:
    Group& group_;
    Visit visit_;
};

/// A member that waits for the others. Members that do so need not end for each other.
class Group::MemberWaits {
 public:
    explicit MemberWaits(Member* caller) noexcept : member_{caller} {
        if (member_ == nullptr) return;
        member_->waits = this;
        Group& group = *member_->group;
        ++group.waiting_members_;
        if (group.only_waiting_members()) group.killers_.fire_all();  // for this one they waited
    }
    MemberWaits(const MemberWaits&) = delete;
    MemberWaits& operator=(const MemberWaits&) = delete;
    ~MemberWaits() {
        if (member_ != nullptr) stop();
    }
    /// Also when it is a member no more.
    void stop() noexcept {
        --member_->group->waiting_members_;
        member_->waits = nullptr;
        member_ = nullptr;
    }
    [[nodiscard]] bool is_member() const noexcept { return member_ != nullptr; }

 private:
    Member* member_;
};

void Group::Member::leave() noexcept {
    Group* left = group;
    const Role as = role;
    if (waits != nullptr) waits->stop();
    delete this;  // its room goes to the next one before the group can be found empty
    left->left(as);
}

Group::~Group() {
    come_home();
    let_go_of_those_that_end_here();
    if (gone()) {
        slots_.close_line();
    } else {
        const Shield shield;
        Killing killing{*this, nullptr};
        shoot_all(nullptr, killing.visit());
        slots_.close_line();
        wait_until_gone(killing.visit(), nullptr, Deadline::never());
    }
    visits_.for_each([this](detail::ListHook& hook) { static_cast<Visit&>(hook).end(failed_); });
}

/// Nobody waits for his own end: a member that destroys the group runs on. One that never ran may
/// have held the last of its owners. Nor for one that has ended with its hub, and will never tell.
void Group::let_go_of_those_that_end_here() {
    for (auto* some : {&members_, &shot_}) {
        // One at a time: what goes with one of them may discard any other.
        detail::IntrusiveList<detail::ListHook> seen;
        while (!some->empty()) {
            auto& member = static_cast<Member&>(some->front());
            member.unlink();
            seen.push_back(member);
            if (detail::ends_here(member.greenlet.task())) {
                member.leave();
            } else if (member.greenlet.ready()) {
                member.ended();
            }
        }
        while (!seen.empty()) {
            detail::ListHook& member = seen.front();
            member.unlink();
            some->push_back(member);
        }
    }
}

// --- coming and going ---

void Group::come_home() noexcept {
    if (home_.is_here()) [[likely]]
        return;
    home_ = {};
    for (auto* theirs : {&members_, &shot_, &visits_}) theirs->forget();
    size_ = feeders_ = waiting_members_ = 0;
    killing_ = 0;
    killing_reason_ = nullptr;
}

void Group::insert(std::unique_ptr<Member> owned) {
    Member& member = *owned.release();  // deleted when its greenlet ends
    members_.push_back(member);
    member.greenlet.task().end_hooks.push_back(member.end);
    ++(member.role == Role::feeder ? feeders_ : size_);
    if (killing_ > 0) shoot(member, killing_reason_);
}

void Group::enter(const AnyGreenlet& greenlet, detail::Slots::Slot slot, Role role) {
    come_home();
    insert(std::make_unique<Member>(*this, greenlet, std::move(slot), role));
}

void Group::start_in_turn(const AnyGreenlet& greenlet) {
    come_home();
    detail::Slots::Slot slot = slots_.try_take();
    if (slot || killing_ > 0) {
        enter(greenlet, std::move(slot), Role::member);
        detail::start(greenlet.task());
    } else {
        insert(std::make_unique<QueuedCall>(*this, greenlet));
    }
}

bool Group::add(const AnyGreenlet& greenlet, Deadline deadline) {
    if (greenlet.ready()) return false;
    if (contains(greenlet)) return true;
    detail::Slots::Slot slot = slots_.take(deadline);
    if (!slot || greenlet.ready()) return false;  // it may have ended while we waited
    if (!contains(greenlet)) enter(greenlet, std::move(slot), Role::member);
    return !greenlet.ready();
}

bool Group::start(const AnyGreenlet& greenlet, Deadline deadline) {
    if (!add(greenlet, deadline)) return false;
    detail::start(greenlet.task());
    return true;
}

bool Group::discard(const AnyGreenlet& greenlet) noexcept {
    Member* member = find(greenlet);
    if (member == nullptr || member->role == Role::feeder) return false;
    member->leave();
    return true;
}

void Group::left(Role role) noexcept {
    --(role == Role::feeder ? feeders_ : size_);
    if (empty()) joiners_.fire_all();
    if (only_waiting_members()) killers_.fire_all();
}

Group::Member* Group::find(const AnyGreenlet& greenlet) const noexcept {
    if (!greenlet.task().home.is_here()) return nullptr;
    // By the greenlet, which has few hooks, not by the group, which may have many members.
    Member* found = nullptr;
    greenlet.task().end_hooks.for_each([&](detail::EndHook& hook) {
        auto* end = dynamic_cast<Member::End*>(&hook);
        if (end != nullptr && end->member->group == this) found = end->member;
    });
    return found;
}

bool Group::contains(const AnyGreenlet& greenlet) const noexcept {
    const Member* member = find(greenlet);
    return member != nullptr && member->role != Role::feeder;
}

bool Group::has_room(const AnyGreenlet& greenlet) const noexcept {
    const Member* member = find(greenlet);
    return member != nullptr && (member->slot || member->role == Role::guest);
}

std::vector<AnyGreenlet> Group::list(bool with_feeders) {
    come_home();
    std::vector<AnyGreenlet> all;
    all.reserve(size_ + feeders_);
    for (auto* some : {&members_, &shot_}) {
        some->for_each([&](detail::ListHook& hook) {
            auto& member = static_cast<Member&>(hook);
            if (with_feeders || member.role != Role::feeder) all.push_back(member.greenlet);
        });
    }
    return all;
}

// --- waiting ---

bool Group::join(Deadline deadline) {
    if (empty()) return true;
    Ready node{*this};
    return detail::park(node, deadline) || node.missed();
}

namespace {

/// Somebody is told now.
void tell_of(std::optional<AnyGreenlet>& failure) {
    if (const auto failed = std::exchange(failure, std::nullopt))
        std::rethrow_exception(failed->exception());
}

}  // namespace

void Group::raise_failure() { tell_of(failed_); }

bool Group::join_or_raise(Deadline deadline) {
    Visit visit{*this, Visit::For::a_failure};
    for (;;) {
        raise_failure();
        if (empty()) return true;
        Ready emptied{*this};
        detail::ListNode failed{failure_waiters_, "a group's first failure"};
        const bool woken =
            detail::park(std::array<detail::WaitNode*, 2>{&failed, &emptied}, deadline);
        if (visit.group_has_gone()) {
            tell_of(visit.failed());
            return true;
        }
        if (!woken && !failed.missed() && !emptied.missed()) return false;
        if ((emptied.fired() || emptied.missed()) && !failed_) return true;
    }
}

bool Group::wait_until_gone(const Visit& visit, const MemberWaits* caller, Deadline deadline) {
    const auto by_member = [&] { return caller != nullptr && caller->is_member(); };
    while (!(by_member() ? only_waiting_members() : gone())) {
        detail::ListNode node{killers_, "the end of a killed group"};
        const bool woken = detail::park(node, deadline);
        if (visit.group_has_gone()) return true;
        if (!woken && !node.missed()) return false;
        if (by_member()) break;  // it was over: those who were woken first wait no more
    }
    return gone();
}

std::size_t Group::lazy_bound(std::size_t maxsize) const noexcept {
    if (maxsize != automatic) return maxsize;
    const std::size_t limit = slots_.limit();
    if (limit == 0) return 1;  // it may grow
    return limit > automatic / 2 ? automatic : 2 * limit;
}

// --- killing ---

void Group::shoot(Member& member, const std::exception_ptr& reason) {
    member.shot = true;
    member.unlink();
    shot_.push_back(member);
    const AnyGreenlet greenlet = member.greenlet;  // one that never ran ends here, and leaves
    if (reason) {
        greenlet.kill_soon(reason);
    } else {
        greenlet.kill_soon();
    }
}

/// The group may go with what a member that never ran had captured.
void Group::shoot_all(const std::exception_ptr& reason, const Visit& visit) {
    const AnyGreenlet caller = current();
    bool caller_is_meant = false;
    while (!visit.group_has_gone() && !members_.empty()) {
        auto& member = static_cast<Member&>(members_.front());
        if (member.greenlet == caller) {
            caller_is_meant = true;
            member.unlink();
            shot_.push_back(member);
        } else {
            shoot(member, reason);
        }
    }
    if (visit.group_has_gone()) return;
    // Whom a destructor of the dead has discarded meanwhile is a member no more.
    Member* myself = caller_is_meant ? find(caller) : nullptr;
    if (myself != nullptr) shoot(*myself, reason);
}

std::vector<AnyGreenlet> Group::kill(std::exception_ptr reason, Deadline deadline) {
    Killing killing{*this, reason};
    shoot_all(reason, killing.visit());
    if (killing.visit().group_has_gone()) return {};
    MemberWaits caller{find(current())};
    if (wait_until_gone(killing.visit(), &caller, deadline)) return {};
    return list(true);
}

void Group::kill_soon(std::exception_ptr reason) {
    const Visit visit{*this, Visit::For::the_end};
    shoot_all(reason, visit);
}

bool Group::killone(const AnyGreenlet& greenlet, std::exception_ptr reason, Deadline deadline) {
    Member* member = find(greenlet);
    if (member == nullptr || member->shot) return greenlet.ready();
    shoot(*member, reason);
    // Under a shield it does not throw yet, and nobody can wait for his own end.
    return greenlet != current() && greenlet.join(deadline);
}

}  // namespace green
