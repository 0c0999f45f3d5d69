#include <algorithm>
#include <cstring>

#include <green/errors.hpp>
#include <green/ipc/passing.hpp>

namespace green::ipc {
namespace {

[[noreturn]] void fail() { throw ProtocolError("a parcel ends before its values do"); }

}  // namespace

void Packer::raw(std::span<const std::byte> data) {
    parcel_.bytes.insert(parcel_.bytes.end(), data.begin(), data.end());
}

void Packer::bytes(std::span<const std::byte> data) {
    number(data.size());
    raw(data);
}

void Packer::descriptor(Fd fd) {
    if (fd.number() < 0) throw UsageError("an empty Fd was to be passed");
    parcel_.descriptors.push_back(std::move(fd));
}

void Packer::parcel(Parcel parcel) {
    bytes(parcel.bytes);
    number(parcel.descriptors.size());
    for (Fd& fd : parcel.descriptors) descriptor(std::move(fd));
}

std::span<const std::byte> Unpacker::next(std::size_t size) {
    if (size > parcel_.bytes.size() - at_) fail();
    const auto found = std::span{parcel_.bytes}.subspan(at_, size);
    at_ += size;
    return found;
}

void Unpacker::raw(std::span<std::byte> into) {
    const auto found = next(into.size());
    std::copy(found.begin(), found.end(), into.begin());
}

std::span<const std::byte> Unpacker::bytes() { return next(number<std::size_t>()); }

std::string Unpacker::text() {
    const auto found = bytes();
    return {reinterpret_cast<const char*>(found.data()), found.size()};
}

Fd Unpacker::descriptor() {
    if (next_descriptor_ == parcel_.descriptors.size()) fail();
    return std::move(parcel_.descriptors[next_descriptor_++]);
}

Parcel Unpacker::parcel() {
    const auto data = bytes();
    Parcel inner{{data.begin(), data.end()}, {}};
    for (auto left = number<std::size_t>(); left > 0; --left)
        inner.descriptors.push_back(descriptor());
    return inner;
}

void Unpacker::check_end() const {
    if (at_ != parcel_.bytes.size() || next_descriptor_ != parcel_.descriptors.size())
        throw ProtocolError("a parcel holds more than its values");
}

void passing::check_whole(std::span<const Fd> descriptors) {
    for (std::size_t i = 0; i < descriptors.size(); ++i) {
        if (descriptors[i].is_open()) continue;
        throw UsageError("descriptor " + std::to_string(i) +
                         " of a message was taken: the message cannot be passed on");
    }
}

Frame passing::frame_of(Unpacker& unpacker) {
    const auto data = unpacker.bytes();
    Frame frame;
    frame.payload =
        kj::heapArray<capnp::word>((data.size() + sizeof(capnp::word) - 1) / sizeof(capnp::word));
    frame.size = data.size();
    if (!data.empty()) std::memcpy(frame.payload.begin(), data.data(), data.size());
    for (auto left = unpacker.number<std::size_t>(); left > 0; --left)
        frame.descriptors.push_back(unpacker.descriptor());
    return frame;
}

}  // namespace green::ipc
