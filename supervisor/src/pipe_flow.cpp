#include "pipe_flow.hpp"

#include <algorithm>
#include <utility>

namespace greensup {

// --- one reader after the other ---

std::size_t Outlet::due(Cut cut) const {
    return sent_ == 0 ? 0 : next_end(cut, text(), sent_) - sent_;
}

void Outlet::unread(Cut cut, std::size_t count) {
    const auto read = last_end(cut, text(), sent_ - std::min(count, sent_));
    begin_ += read;
    sent_ -= read;
    trim();
}

/// Moved only when it pays: each byte is moved once for each that was read.
void Outlet::trim() {
    if (begin_ < bytes_.size() - begin_) return;
    bytes_.erase(0, begin_);
    begin_ = 0;
}

void Outlet::passed_on(std::size_t count) {
    begin_ += count;
    trim();
}

void Outlet::rewind(Cut cut, std::size_t count) {
    unread(cut, count);
    sent_ = 0;
}

std::string Outlet::take_all() {
    sent_ = 0;
    bytes_.erase(0, std::exchange(begin_, 0));
    return std::exchange(bytes_, {});
}

// --- all of them ---

void PipeFlow::configure(PipeShape shape, Cut cut, int readers) {
    shape_ = shape;
    cut_ = cut;
    readers_ = readers;
    drop_the_gone();
}

std::uint64_t PipeFlow::waiting() const {
    std::uint64_t all = 0;
    for (const auto& [slot, outlet] : outlets_) all += outlet.size();
    return all;
}

std::uint64_t PipeFlow::waiting_for(const std::set<int>& slots) const {
    if (shape_ == PipeShape::spread) return slots.empty() ? 0 : waiting();
    std::uint64_t all = 0;
    for (const auto& [slot, outlet] : outlets_)
        if (slots.contains(slot)) all += outlet.size();
    return all;
}

bool PipeFlow::has_room_at(int slot) const {
    const auto found = outlets_.find(slot);
    return found == outlets_.end() || found->second.unsent() < portion;
}

bool PipeFlow::has_room(int writer) const {
    switch (shape_) {
        case PipeShape::pair:
            return has_room_at(writer);
        case PipeShape::merge:
            return has_room_at(0);
        case PipeShape::spread:
        case PipeShape::broadcast:
            break;
    }
    // As next_in_turn() chooses: who is away gets nothing while somebody is there.
    bool any = false;
    bool all = true;
    bool is_present = false;
    bool room_there = false;
    bool room_away = false;
    for (int slot = 0; slot < readers_; ++slot) {
        if (!takes(slot)) continue;
        const bool room = has_room_at(slot);
        const bool is_there = present_.contains(slot);
        any = true;
        all = all && room;
        is_present = is_present || is_there;
        (is_there ? room_there : room_away) |= room;
    }
    if (shape_ == PipeShape::broadcast) return any && all;
    return is_present ? room_there : room_away;
}

void PipeFlow::put(int writer, std::string_view messages) {
    switch (shape_) {
        case PipeShape::pair:
            return outlets_[writer].add(messages);
        case PipeShape::merge:
            return outlets_[0].add(messages);
        case PipeShape::spread:
            return share_out(messages);
        case PipeShape::broadcast:
            for (int slot = 0; slot < readers_; ++slot) {
                if (takes(slot)) outlets_[slot].add(messages);
                if (lost_.contains(slot)) missed_[slot] += messages.size();
            }
    }
}

void PipeFlow::share_out(std::string_view messages) {
    while (!messages.empty()) {
        const auto first = first_message(cut_, messages);
        const auto size = std::min<std::uint64_t>(first.size, messages.size());
        if (first.is != FirstMessage::Is::known || size == 0) return;
        outlets_[next_in_turn()].add(messages.substr(0, size));
        messages.remove_prefix(size);
    }
}

/// Who is there and has room comes before who is there, and he before who has yet to come.
int PipeFlow::next_in_turn() {
    int chosen = turn_;
    int best = -1;
    for (int step = 1; step <= readers_; ++step) {
        const int slot = (turn_ + step) % readers_;
        if (!takes(slot)) continue;
        const int merit = (present_.contains(slot) ? 2 : 0) + (has_room_at(slot) ? 1 : 0);
        if (merit <= best) continue;
        best = merit;
        chosen = slot;
    }
    return turn_ = chosen;
}

void PipeFlow::reader_left(int slot, std::size_t unread) {
    outlets_[slot].rewind(cut_, unread);
    present_.erase(slot);
    (void)pass_on();
    drop_the_gone();
}

bool PipeFlow::has_room_now() const {
    return std::any_of(present_.begin(), present_.end(),
                       [&](int slot) { return takes(slot) && has_room_at(slot); });
}

bool PipeFlow::pass_on() {
    if (shape_ != PipeShape::spread) return false;
    bool waits = false;
    for (auto& [slot, outlet] : outlets_) {
        if (present_.contains(slot)) continue;
        while (outlet.size() > 0 && has_room_now()) {
            const auto text = outlet.to_send();
            const auto first = first_message(cut_, text);
            const auto size = std::min<std::uint64_t>(first.size, text.size());
            if (first.is != FirstMessage::Is::known || size == 0) break;
            outlets_[next_in_turn()].add(text.substr(0, size));
            outlet.passed_on(size);
        }
        waits = waits || outlet.size() > 0;
    }
    return waits;
}

std::uint64_t PipeFlow::missed_by(int slot) const {
    const auto found = missed_.find(slot);
    return found == missed_.end() ? 0 : found->second;
}

std::uint64_t PipeFlow::missed() const {
    std::uint64_t all = 0;
    for (const auto& [slot, bytes] : missed_) all += bytes;
    return all;
}

void PipeFlow::set_over(std::set<int> done, std::set<int> lost) {
    done_ = std::move(done);
    lost_ = std::move(lost);
    if (shape_ == PipeShape::spread || shape_ == PipeShape::broadcast) drop_the_gone();
}

/// Who comes is given what none of those before him has read: they may all be gone before they do.
void PipeFlow::welcome_the_new() {
    std::string unheard;
    bool is_known = false;
    for (const auto slot : hearers_) {
        const auto text = outlets_[slot].text();
        if (is_known && text.size() >= unheard.size()) continue;
        unheard = text;
        is_known = true;
    }
    const auto before = std::exchange(hearers_, {});
    for (int slot = 0; slot < readers_; ++slot) {
        if (!takes(slot)) continue;
        hearers_.insert(slot);
        if (before.contains(slot)) continue;
        outlets_[slot].add(unheard);
        if (const auto missed = missed_.find(slot); missed != missed_.end())
            missed->second -= std::min<std::uint64_t>(missed->second, unheard.size());
    }
}

/// What waits for a slot that is no more goes to the others, unless they have had it too.
void PipeFlow::drop_the_gone() {
    if (shape_ == PipeShape::pair) return;
    const auto takes_part = [&](int slot) {
        return shape_ == PipeShape::merge ? slot == 0 : takes(slot);
    };
    bool any = false;
    for (int slot = 0; slot < readers_; ++slot) any = any || takes_part(slot);
    if (!any) return;
    if (shape_ == PipeShape::broadcast) welcome_the_new();
    std::string rest;
    for (auto it = outlets_.begin(); it != outlets_.end();) {
        if (present_.contains(it->first) || takes_part(it->first)) {
            ++it;
            continue;
        }
        if (shape_ == PipeShape::broadcast && lost_.contains(it->first))
            missed_[it->first] += it->second.size();
        rest += it->second.take_all();
        it = outlets_.erase(it);
    }
    // Of what went to everybody each has a copy.
    if (shape_ != PipeShape::broadcast && !rest.empty()) put(0, rest);
}

}  // namespace greensup
