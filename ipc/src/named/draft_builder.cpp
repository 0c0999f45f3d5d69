#include <algorithm>
#include <cstring>

#include <capnp/any.h>

#include <green/ipc/queue.hpp>

namespace green::ipc {

DraftBuilder::DraftBuilder(RawDraft draft) noexcept : draft_{std::move(draft)} {}
DraftBuilder::~DraftBuilder() noexcept(false) = default;

kj::ArrayPtr<capnp::word> DraftBuilder::allocateSegment(capnp::uint minimum_words) {
    const std::span<std::byte> memory = draft_.memory();
    if (std::exchange(first_, false) && memory.size() >= minimum_words * sizeof(capnp::word)) {
        return {reinterpret_cast<capnp::word*>(memory.data()), memory.size() / sizeof(capnp::word)};
    }
    auto words = kj::heapArray<capnp::word>(std::max<std::size_t>(minimum_words, 512));
    std::memset(words.begin(), 0, words.size() * sizeof(capnp::word));
    overflow_.push_back(kj::mv(words));
    return overflow_.back();
}

void DraftBuilder::publish(std::size_t words, const MessageId* id) {
    const std::size_t size = words * sizeof(capnp::word);
    if (id == nullptr)
        draft_.put(size, size);
    else
        (void)draft_.put_once(*id, size, size);
}

bool DraftBuilder::put(Deadline deadline, const MessageId* id) {
    const auto segments = getSegmentsForOutput();
    if (overflow_.empty()) {
        publish(segments[0].size(), id);
        return true;
    }
    std::size_t words = 1;
    for (const auto& segment : segments) words += segment.size();
    capnp::MallocMessageBuilder whole{static_cast<capnp::uint>(words)};
    whole.setRoot(getRoot<capnp::AnyPointer>().asReader());
    const auto one = whole.getSegmentsForOutput()[0];
    // Nobody waits while holding: the memory that was too small goes back before more is asked for.
    draft_.release();
    if (!draft_.regrow(one.size() * sizeof(capnp::word), deadline)) return false;
    std::memcpy(draft_.memory().data(), one.begin(), one.size() * sizeof(capnp::word));
    publish(one.size(), id);
    return true;
}

bool schema_fits(std::string_view schema, capnp::Schema type) {
    if (schema == "bytes") return true;
    const auto proto = type.getProto();
    const std::string_view full =
        view(proto.getDisplayName());  // "some/path/document.capnp:Document"
    if (schema == full || schema == full.substr(proto.getDisplayNamePrefixLength())) return true;
    if (full.size() > schema.size() && full.ends_with(schema) &&
        full[full.size() - schema.size() - 1] == '/') {
        return true;
    }
    char id[24];
    std::snprintf(id, sizeof id, "0x%016llx", static_cast<unsigned long long>(proto.getId()));
    return schema == id;
}

}  // namespace green::ipc
