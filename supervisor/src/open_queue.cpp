// Longer than most files: a queue's segment is taken over, mended and given up under one set of
// rules about who may have its file meanwhile.

#include "open_queue.hpp"

#include <algorithm>
#include <cerrno>
#include <map>
#include <mutex>
#include <string>
#include <system_error>
#include <unistd.h>
#include <vector>

#include <green/context.hpp>
#include <green/fd.hpp>
#include <green/greenlet.hpp>
#include <green/joinall.hpp>
#include <green/log.hpp>
#include <green/mutex.hpp>
#include <green/sys.hpp>

#include "named/tending.hpp"
#include "queue/keeper.hpp"
#include "queue/member.hpp"
#include "queue/repair.hpp"
#include "queue_file.hpp"
#include "segment_aside.hpp"

namespace greensup {
namespace {

namespace sys = green::sys;

// How often each file was looked for: whoever did may have found one that is about to be removed.
std::map<std::string, std::uint64_t> looks;

// What still finds out whether its segment is empty.
std::vector<green::AnyGreenlet> endings;

/// Gives our place among the sleepers back.
class SleepingPlace {
 public:
    SleepingPlace(shm::WaitTable& table, unsigned index) noexcept : table_{table}, index_{index} {}
    SleepingPlace(const SleepingPlace&) = delete;
    SleepingPlace& operator=(const SleepingPlace&) = delete;
    ~SleepingPlace() { table_.give_up(index_); }

 private:
    shm::WaitTable& table_;
    unsigned index_;
};

}  // namespace

struct OpenQueue::State {
    QueueConfig config;
    std::string path;
    Aside aside;
    bool is_in_file = true;
    bool is_last_turn = false;
    std::unique_ptr<shm::Keeper> keeper;
    green::Fd segment;
    std::unique_ptr<shm::Member> letter_box;  // the keeper's own, for what died elsewhere
    // What was said of dead letters, and what a pass over the dead has seen so far.
    struct Letters {
        bool are_full = false;
        bool are_too_large = false;
    };
    Letters said;
    Letters seen;
    green::Duration cost_of_look{};  // at all slots
    green::Mutex repairs;            // one at a time

    [[nodiscard]] QueueFigures figures(const shm::Status& status) const;
};

OpenQueue::Found::Found() noexcept = default;
OpenQueue::Found::Found(Found&&) noexcept = default;
OpenQueue::Found& OpenQueue::Found::operator=(Found&&) noexcept = default;
OpenQueue::Found::~Found() = default;

OpenQueue::Found OpenQueue::look(const std::string& directory, const QueueConfig& config) {
    check_figures(config);
    const auto path = path_of(directory, config);
    ++looks[path];
    Found found;
    try {
        auto keeper = std::make_unique<shm::Keeper>(shm::Segment::open(path));
        keeper->check();
        check_schema(*keeper, config);
        found.is_to_be_remade_ = is_to_be_remade(*keeper, config);
        if (found.is_to_be_remade_) return found;
        found.segment_ = open_file(path, config);
        found.keeper_ = std::move(keeper);
    } catch (const shm::VersionError& error) {
        found.foreign_version_ = error.version();
    } catch (const std::system_error& error) {
        if (error.code().value() != ENOENT) refuse(config, error.what(), "");
    } catch (const shm::SegmentError& error) {
        refuse(config, error.what(), "if its messages do not matter, remove it: rm " + path);
    }
    return found;
}

std::shared_ptr<OpenQueue> OpenQueue::open(const std::string& directory, const QueueConfig& config,
                                           Found found) {
    auto state = std::make_shared<State>();
    state->config = config;
    state->path = path_of(directory, config);
    tell_of_asides(state->path, config);
    const bool is_empty_foreign =
        found.foreign_version_ &&
        !set_aside(state->path, config, *found.foreign_version_, state->aside);
    const bool replaces = found.is_to_be_remade_ || is_empty_foreign;
    const bool is_there = found.is_there();
    state->keeper =
        is_there ? std::move(found.keeper_) : make_segment(state->path, config, replaces);
    if (is_empty_foreign) tell_of_replaced(config, *found.foreign_version_);
    shm::Segment::remove_draft(state->path);
    state->segment = is_there ? std::move(found.segment_) : open_file(state->path, config);
    if (is_there) {
        // What its last holders had in hand comes back by the rules of today.
        state->keeper->configure(settings_of(config, !config.dead_letter.empty()));
        state->keeper->recover();
        if (state->keeper->segment().config() != figures_of(config))
            keep_as_it_is(*state->keeper, config);
        else if (const auto messages = messages_of(state->keeper->status()); messages != 0)
            green::log::info("queue.resumed", {{"queue", config.name}, {"messages", messages}});
    }
    state->keeper->configure(settings_of(config, !config.dead_letter.empty()));
    state->keeper->set_watcher([name = config.name, &keeper = *state->keeper](bool is_high) {
        const auto level = std::to_string(keeper.level()) + "%";
        if (is_high)
            green::log::warning("queue.high", {{"queue", name}, {"used", level}});
        else
            green::log::info("queue.low", {{"queue", name}, {"used", level}});
    });
    return std::shared_ptr<OpenQueue>(new OpenQueue(std::move(state)));
}

OpenQueue::OpenQueue(std::shared_ptr<State> state) : state_{std::move(state)} {
    const green::Context::Scope nobodys{green::Context{}};
    tender_ = green::spawn([state = state_] { green::ipc::tend(*state->keeper); });
    tender_->set_name("keeper of queue " + state_->config.name);
}

OpenQueue::~OpenQueue() {
    tender_->kill_soon();
    state_->keeper->set_mover({});
    // Only one that was taken out of the file ends while others have to be served.
    if (!state_->is_in_file && !state_->is_last_turn) {
        try {
            const green::Context::Scope nobodys{green::Context{}};
            std::erase_if(endings, [](const auto& ending) { return ending.ready(); });
            endings.reserve(endings.size() + 1);
            endings.push_back(green::spawn(
                [state = state_, seen = looks[state_->path]] { end_in_turns(*state, seen); }));
            endings.back().set_name("end of queue " + state_->config.name);
            return;
        } catch (const std::exception&) {
            // then at once
        }
    }
    end(*state_, shm::status(state_->keeper->segment()));
}

// Nothing more is done to it when somebody has looked for its file meanwhile: it may be his now.
// Nor by one that is killed, which nobody waits for: the run directory may be another supervisor's.
void OpenQueue::end_in_turns(State& state, std::uint64_t seen) {
    const auto status = shm::status(state.keeper->segment(), [] { green::yield(); });
    if (seen == looks[state.path]) end(state, status);
}

void OpenQueue::wait_for_ends() {
    green::joinall(endings);
    endings.clear();
}

void OpenQueue::end(State& state, const shm::Status& status) {
    if (messages_of(status) == 0 && status.reserved == 0) {
        (void)sys::unlink(state.path.c_str());
        state.aside.put_back();  // now: our greenlet may have the state for a while
        return;
    }
    state.aside.keep();
    const auto messages = state.figures(status).left();
    if (state.is_in_file)
        green::log::info(
            "queue.left",
            {{"queue", state.config.name}, {"messages", messages}, {"path", state.path}});
    else
        green::log::warning("queue.left", {{"queue", state.config.name},
                                           {"messages", messages},
                                           {"path", state.path},
                                           {"why", not_in_file}});
}

void OpenQueue::confirm() noexcept { state_->aside.keep(); }

void OpenQueue::set_in_file(bool is_in_file) noexcept { state_->is_in_file = is_in_file; }
void OpenQueue::set_last_turn() noexcept { state_->is_last_turn = true; }

const QueueConfig& OpenQueue::config() const noexcept { return state_->config; }
const std::string& OpenQueue::path() const noexcept { return state_->path; }

std::vector<int> OpenQueue::descriptors() const {
    std::vector<int> all = {state_->segment.number()};
    const auto bells = state_->keeper->doorbells();
    all.insert(all.end(), bells.begin(), bells.end());
    return all;
}

void OpenQueue::apply(const QueueConfig& config, const std::shared_ptr<OpenQueue>& dead_letter) {
    if (!config.ignored.empty())
        green::log::warning(
            "queue.ignored",
            {{"queue", config.name},
             {"keys", config.ignored},
             {"why", "with delivery = \"at-most-once\" a message ends when it is handed out"}});
    if (config.dead_letter != state_->config.dead_letter) state_->said = {};
    state_->config = config;
    state_->seen = {};
    if (dead_letter) {
        dead_letter->open_letter_box();
        state_->keeper->set_mover(
            [to = dead_letter, &from = *state_](shm::Letter letter, std::int64_t now) {
                letter.source = from.config.name;
                const auto kept =
                    to->state_->letter_box->keep(letter, from.keeper->segment().identity(), now);
                note_refused(from, *to->state_, kept);
                return kept;
            },
            [to = dead_letter, &from = *state_](bool all) {
                return note_looked(from, *to->state_, all);
            });
    } else {
        state_->keeper->set_mover({});
    }
    state_->keeper->configure(settings_of(config, dead_letter != nullptr));
}

// Once when the dead find no room, not each time that they are tried.
void OpenQueue::note_refused(State& from, const State& to, shm::Kept kept) {
    const auto tell = [&](bool& is_said, const char* event, const char* why) {
        if (!std::exchange(is_said, true))
            green::log::warning(
                event,
                {{"queue", from.config.name}, {"dead_letter", to.config.name}, {"why", why}});
    };
    if (kept == shm::Kept::goes_on) from.seen.are_full = true;
    if (kept == shm::Kept::no_room) {
        from.seen.are_full = true;
        tell(from.said.are_full, "queue.letters_full",
             "the dead stay where they died until there is room");
    } else if (kept == shm::Kept::too_large) {
        from.seen.are_too_large = true;
        tell(from.said.are_too_large, "queue.letters_too_large",
             "the dead stay where they died; raise max_message and max_bytes there");
    }
}

// There is room again once all were tried, none was refused and it has been made down to the low
// mark: not as soon as one finds the place of another that was taken out.
bool OpenQueue::note_looked(State& from, const State& to, bool all) {
    const auto seen = std::exchange(from.seen, {});
    if (!all) return false;
    from.said.are_too_large = seen.are_too_large;
    const auto low = static_cast<std::uint64_t>(to.config.low_percent);
    if (!from.said.are_full) return false;
    if (seen.are_full || to.keeper->level() > low) return true;
    from.said.are_full = false;
    green::log::info("queue.letters_room",
                     {{"queue", from.config.name}, {"dead_letter", to.config.name}});
    return false;
}

void OpenQueue::open_letter_box() {
    if (state_->letter_box) return;
    state_->letter_box = std::make_unique<shm::Member>(
        shm::Segment::adopt(state_->segment.number(), state_->path),
        state_->keeper->segment().config().members, state_->keeper->doorbells());
}

void OpenQueue::repair(std::uint32_t owner) {
    const auto state = state_;  // we may switch
    const std::scoped_lock one_at_a_time{state->repairs};
    shm::Keeper::Repair repair{*state->keeper, owner};
    while (!repair.go_on()) green::yield();
}

QueueFigures OpenQueue::figures() const {
    const auto state = state_;  // we may switch
    return state->figures(shm::status(state->keeper->segment(), [] { green::yield(); }));
}

QueueFigures OpenQueue::State::figures(const shm::Status& status) const {
    QueueFigures figures;
    figures.ready = status.ready;
    figures.leased = status.leased;
    figures.delayed = status.delayed;
    figures.bytes = status.bytes;
    figures.dead = status.dead;
    if (status.oldest_put_time != 0) {
        const green::Duration put{status.oldest_put_time};
        figures.oldest = std::max(green::now() - green::TimePoint{put}, green::Duration::zero());
    }
    figures.is_high = status.is_high;
    figures.are_letters_full = (said.are_full || said.are_too_large) && status.dead > 0;
    figures.accepted = status.put;
    figures.acked = status.acked;
    figures.redelivered = status.redelivered;
    figures.moved = status.moved;
    figures.duplicates = status.duplicates;
    figures.dropped_oldest = status.dropped_oldest;
    figures.rejected = status.rejected;
    figures.expired = status.died;
    figures.dropped_newest = status.dropped_newest;
    figures.turned_away = status.turned_away;
    figures.leases_expired = status.expired;
    for (std::size_t i = 0; i < status.leases.size(); ++i)
        if (status.leases[i] != 0)
            figures.holders.emplace_back(static_cast<std::uint32_t>(i + 1), status.leases[i]);
    return figures;
}

OpenQueue::Left OpenQueue::left_until(TimePoint deadline) const {
    const auto state = state_;  // we may switch
    green::Duration spent{};
    auto begun = green::now();
    const auto left =
        shm::left_until(state->keeper->segment(), deadline.time_since_epoch().count(), [&] {
            spent += green::now() - begun;
            green::yield();
            begun = green::now();
        });
    state->cost_of_look = spent + (green::now() - begun);
    return {left.soon, left.later};
}

void OpenQueue::follow(green::Event& changed) {
    // One look for many messages: who empties a queue quickly is not slowed down by telling us.
    constexpr auto pause = 10ms;
    constexpr int share = 20;      // of our time at most one part in so many is for looking
    constexpr auto blind = 200ms;  // without a place to sleep
    constexpr auto nap = 1s;       // a slot whose last reader is slow is freed without a word
    auto& segment = state_->keeper->segment();
    shm::WaitTable table{segment, state_->keeper->doorbells()};
    const auto us = segment.config().members;
    auto place = table.claim(us);
    for (; !place; place = table.claim(us)) {
        changed.set();
        green::sleep(blind);
    }
    const SleepingPlace held{table, *place};
    green::Fd bell{static_cast<int>(sys::must(sys::dup(table.doorbell(*place)), "dup a doorbell"))};
    for (;;) {
        table.arm(*place, shm::Interest::slots);
        changed.set();  // whoever looks now has not missed anything
        bell.wait_readable(nap);
        std::uint64_t rings = 0;
        (void)sys::read(bell.number(), &rings, sizeof rings);
        // One who frees a slot wakes one sleeper; a producer may need it more than we do.
        table.disarm(*place, shm::Interest::slots);
        table.announce(shm::Interest::slots);
        green::sleep(std::max<green::Duration>(pause, share * state_->cost_of_look));
    }
}

}  // namespace greensup
