#include <filesystem>
#include <unistd.h>
#include <utility>

#include <green/context.hpp>
#include <green/errors.hpp>
#include <green/greenlet.hpp>
#include <green/ipc/named_queue.hpp>
#include <green/sys.hpp>

#include "named/core.hpp"
#include "named/tending.hpp"
#include "queue/crash_drill.hpp"
#include "queue/keeper.hpp"
#include "queue/member.hpp"

namespace green::ipc {

MessageId MessageId::of(std::string_view text) noexcept {
    MessageId id{0xcbf29ce484222325, 0x9e3779b97f4a7c15};
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        id.high = (id.high ^ byte) * 0x100000001b3;
        id.low = (id.low + byte) * 0xff51afd7ed558ccd;
        id.low ^= id.low >> 29;
    }
    return id;
}

RawDraft::RawDraft(std::shared_ptr<QueueCore> core, shm::Reservation reservation) noexcept
    : core_{std::move(core)}, reservation_{reservation} {}
RawDraft::RawDraft(RawDraft&& other) noexcept
    : core_{std::move(other.core_)},
      reservation_{std::exchange(other.reservation_, {})},
      aside_{std::move(other.aside_)} {}
RawDraft& RawDraft::operator=(RawDraft&& other) noexcept {
    const RawDraft old{std::move(*this)};
    core_ = std::move(other.core_);
    reservation_ = std::exchange(other.reservation_, {});
    aside_ = std::move(other.aside_);
    return *this;
}
RawDraft::~RawDraft() {
    if (reservation_) core_->abandon(reservation_);
}
void RawDraft::divert(std::size_t bytes) {
    if (reservation_) core_->abandon(reservation_);
    const std::size_t blocks = bytes / sizeof(Block) + 1;
    aside_ = std::make_unique<Block[]>(blocks);
    reservation_ = {};
    reservation_.memory = std::as_writable_bytes(std::span{aside_.get(), blocks});
}
bool RawDraft::drop_aside() {
    if (!aside_) return false;
    core_->dropped();
    reservation_ = {};
    aside_.reset();
    return true;
}
void RawDraft::put(std::size_t size) { put(size, reservation_.memory.size()); }
bool RawDraft::put_once(MessageId id, std::size_t size) {
    return put_once(id, size, reservation_.memory.size());
}
void RawDraft::put(std::size_t size, std::size_t touched) {
    if (!drop_aside()) core_->put(reservation_, size, touched);
}
bool RawDraft::put_once(MessageId id, std::size_t size, std::size_t touched) {
    if (drop_aside()) throw QueueFull("queue " + core_->name() + " is full and drops what is new");
    return core_->put_once(reservation_, id, size, touched);
}
void RawDraft::release() {
    if (!aside_) core_->release(reservation_);
}
bool RawDraft::regrow(std::size_t bytes, Deadline deadline) {
    const auto room = aside_ ? QueueCore::Room::drop : core_->regrow(reservation_, bytes, deadline);
    if (room == QueueCore::Room::drop) divert(bytes);
    return room != QueueCore::Room::none;
}

RawLease::RawLease(std::shared_ptr<QueueCore> core, const shm::Lease& lease) noexcept
    : core_{std::move(core)}, lease_{lease} {}
RawLease::RawLease(RawLease&& other) noexcept
    : core_{std::move(other.core_)}, lease_{std::exchange(other.lease_, {})} {}
RawLease& RawLease::operator=(RawLease&& other) noexcept {
    const RawLease old{std::move(*this)};
    core_ = std::move(other.core_);
    lease_ = std::exchange(other.lease_, {});
    return *this;
}
RawLease::~RawLease() {
    if (lease_) core_->drop(lease_);
}
std::optional<DeadLetter> RawLease::letter() const {
    return lease_ ? core_->letter(lease_) : std::nullopt;
}
bool RawLease::ack() { return core_of_held()->ack(lease_); }
bool RawLease::nack() { return core_of_held()->give_back(lease_, shm::Turn::last); }
bool RawLease::nack(Duration delay) { return core_of_held()->give_back_for(lease_, delay); }
bool RawLease::reject() { return core_of_held()->reject(lease_); }
bool RawLease::extend(Duration from_now) { return core_of_held()->extend(lease_, from_now); }
QueueCore* RawLease::core_of_held() const {
    if (!lease_) throw UsageError("this message was acknowledged or given back already");
    return core_.get();
}

RawQueue::RawQueue(QueueGrant grant) {
    shm::arm_drill();  // before the first step of the protocol, if there is a drill at all
    core_ = std::make_shared<QueueCore>(std::move(grant));
}
std::optional<RawDraft> RawQueue::prepare(std::size_t bytes, Deadline deadline) {
    return core_->prepare(bytes, deadline);
}
std::optional<RawLease> RawQueue::next(Deadline deadline) { return core_->next(deadline); }
void RawQueue::stop() noexcept { core_->stop(); }
bool RawQueue::stopped() const { return core_->over(); }
bool RawQueue::closed() const noexcept { return core_->member().is_closed(); }
const std::string& RawQueue::name() const noexcept { return core_->name(); }
const std::string& RawQueue::schema() const noexcept { return core_->schema(); }
std::size_t RawQueue::max_message() const noexcept { return core_->member().max_message(); }
WhenFull RawQueue::when_full() const noexcept {
    return static_cast<WhenFull>(core_->member().when_full());
}

namespace {

std::string temporary_name(const std::string& queue) {
    return (std::filesystem::temp_directory_path() /
            ("greensup-" + std::to_string(::getpid()) + "-" + queue))
        .string();
}

shm::Segment create_nameless(const std::string& queue, const LocalQueue::Options& options) {
    shm::Config config;
    config.capacity = options.capacity;
    config.payload_bytes = options.payload_bytes;
    config.max_message = options.max_message;
    return shm::Segment::create(temporary_name(queue), config);
}

}  // namespace

/// The greenlet that tends the queue, while it lives.
class LocalQueue::Tender {
 public:
    explicit Tender(std::shared_ptr<State> state);
    Tender(const Tender&) = delete;
    Tender& operator=(const Tender&) = delete;
    ~Tender() { greenlet_.kill_soon(); }

 private:
    AnyGreenlet greenlet_;
};

struct LocalQueue::State {
    State(std::string queue, const Options& options)
        : name{std::move(queue)},
          path{temporary_name(name)},
          keeper{create_nameless(name, options)},
          file{static_cast<int>(sys::must(sys::open(path.c_str(), O_RDWR), "opening " + path))} {
        (void)sys::unlink(path.c_str());  // it lives as long as somebody has it open
        keeper.recover();
        settings.lease = static_cast<std::uint64_t>(options.lease.count());
        settings.dedup_window = static_cast<std::uint64_t>(options.dedup_window.count());
        settings.time_to_live = static_cast<std::uint64_t>(options.time_to_live.count());
        settings.when_full = static_cast<shm::WhenFull>(options.when_full);
        settings.at_most_once = options.at_most_once;
        keeper.configure(settings);
    }
    std::string name;
    std::string path;
    shm::Keeper keeper;
    shm::Settings settings;
    Fd file;
    std::uint32_t last_owner = 0;
    const detail::Home home;
    std::weak_ptr<Tender> tender;
    std::unique_ptr<shm::Member> letter_box;  // the keeper's own, for what died elsewhere
};

LocalQueue::Tender::Tender(std::shared_ptr<State> state)
    : greenlet_{spawn([state = std::move(state)] { tend(state->keeper); })} {
    greenlet_.set_name("keeper of a queue");
}

LocalQueue::LocalQueue(std::string name, Options options)
    : state_{std::make_shared<State>(std::move(name), options)} {}
LocalQueue::LocalQueue(LocalQueue&&) noexcept = default;
LocalQueue::~LocalQueue() {
    // Two queues may be each other's dead letters, and would keep each other.
    if (state_) state_->keeper.set_mover({});
}

LocalQueue::State& LocalQueue::state() const {
    if (state_->home.is_here()) return *state_;
    throw WrongProcess("queue " + state_->name + " belongs to the process that was forked");
}

QueueGrant LocalQueue::grant() {
    // The last number is the keeper's own.
    if (state().last_owner + 1 >= state_->keeper.segment().config().members)
        throw UsageError("queue " + state_->name + ": too many participants");
    const auto copy = [](int fd) { return Fd{static_cast<int>(sys::must(sys::dup(fd), "dup"))}; };
    QueueGrant grant;
    grant.name = state_->name;
    grant.path = state_->path;
    grant.schema = "bytes";
    grant.segment = copy(state_->file.number());
    for (const int doorbell : state_->keeper.doorbells()) grant.doorbells.push_back(copy(doorbell));
    grant.owner = ++state_->last_owner;
    grant.on_first_use = [state = state_]() -> std::shared_ptr<void> {
        if (!state->home.is_here()) return nullptr;
        // It is for everybody, not only for, nor only as long as, the first.
        const Context::Scope nobodys{Context{}};
        auto tender = state->tender.lock();
        if (!tender) state->tender = tender = std::make_shared<Tender>(state);
        return tender;
    };
    return grant;
}
void LocalQueue::set_dead_letter(LocalQueue& other, std::uint32_t max_deliveries) {
    State& to = other.state();
    if (&to == &state()) throw UsageError("a queue cannot be its own dead letter");
    if (!to.letter_box) {
        to.letter_box = std::make_unique<shm::Member>(
            shm::Segment::adopt(to.file.number(), to.path), to.keeper.segment().config().members,
            to.keeper.doorbells());
    }
    state_->keeper.set_mover(
        [to = other.state_, name = state_->name, from = state_->keeper.segment().identity()](
            shm::Letter letter, std::int64_t now) {
            letter.source = name;
            return to->letter_box->keep(letter, from, now);
        });
    state_->settings.has_dead_letter = true;
    state_->settings.max_deliveries = max_deliveries;
    state_->keeper.configure(state_->settings);
}
void LocalQueue::repair(std::uint32_t owner) { state().keeper.repair(owner); }
bool LocalQueue::empty() const { return state().keeper.empty(); }
void LocalQueue::close() { state().keeper.close(); }
bool LocalQueue::drain(Deadline deadline) {
    close();
    const std::shared_ptr<State> held = state_;  // we wait
    return wait_until_empty(held->keeper, deadline);
}
void LocalQueue::watch(unsigned high, unsigned low, std::function<void(bool is_high)> watcher) {
    state().keeper.set_watcher(std::move(watcher));
    state_->settings.high = high;
    state_->settings.low = low;
    state_->keeper.configure(state_->settings);
}

}  // namespace green::ipc
