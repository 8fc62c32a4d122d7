#!/usr/bin/env bash
# Hands network cards to DPDK and gives them back: hugepages, IOMMU, vfio-pci. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=nic/machine.sh
. "$(dirname "${BASH_SOURCE[0]}")/nic/machine.sh"
# shellcheck source-path=SCRIPTDIR source=nic/hugepages.sh
. "$(dirname "${BASH_SOURCE[0]}")/nic/hugepages.sh"

usage() {
    cat <<EOF
Usage: scripts/nic.sh status
       scripts/nic.sh bind [--hugepages SIZE=N[@NODE]]... [--persistent] [--in-use] [--no-iommu] [--dry-run] [CARD]...
       scripts/nic.sh unbind [--dry-run] [CARD]...

Hands network cards to DPDK, and gives them back.

  scripts/nic.sh status                                     what is here, and what is missing
  scripts/nic.sh bind --hugepages 2M=192 eth1 eth2 --dry-run
  scripts/nic.sh unbind                                     undo all of it

  status   shows what DPDK finds: IOMMU, vfio-pci, hugepages, network cards; and how to fix what is missing. Changes
           nothing. Exit status 1 if something is missing
  bind     takes cards from the kernel, binds them to vfio-pci, and reserves hugepages. CARD is a PCI address
           (0000:03:00.0, 03:00.0) or an interface (eth1). It checks everything before it changes anything, and leaves
           alone what is done already. It never binds a card that carries the default route or your login, not even under
           a bridge, bond or VLAN
  unbind   gives cards back to their former driver. Without CARD: everything that "bind" took, hugepages, mounts and the
           no-IOMMU mode included

  --hugepages SIZE=N[@NODE]  at least N pages of SIZE (2M or 1G) on this NUMA node (default: each node that has a named
                             card, or node 0). Mounts hugetlbfs if needed
  --persistent               reserve these hugepages at each boot (/etc/tmpfiles.d/wireglass-hugepages.conf)
  --in-use                   also bind cards whose interface has addresses, or is part of a bridge or bond; they lose them
  --no-iommu                 bind even without an IOMMU. The card, and whoever drives it, can then write to all memory
  --dry-run                  only print what would be done
  --help                     this text

The former state of cards and memory is kept in /run/wireglass/nic until "unbind". Like the bindings, it is gone after a
reboot. Cards that DPDK shares with their kernel driver (Mellanox, MANA) need no binding. For tests: NIC_ROOT names a
folder with another machine's /sys, /proc, /etc, /run and /dev.
EOF
}

state=$at/run/wireglass/nic
dry='' persistent='' in_use='' no_iommu=''
pages=() cards=()

# Runs a command that changes the machine.
change() {
    if [[ -n $dry ]]; then
        say "would run: $*"
        return
    fi
    "$@"
}

# Writes a value into a file of the kernel. False, and a word about it, if the kernel refuses.
put() {
    if [[ -n $dry ]]; then
        say "would write \"$1\" to ${2#"$at"}"
        return
    fi
    printf '%s\n' "$1" | tee -- "$2" >/dev/null
}

# Keeps lines in a file of the state folder.
remember() {
    if [[ -n $dry ]]; then return; fi
    mkdir -p "$state"
    printf '%s\n' "${@:2}" >"$1"
}

forget() {
    if [[ -z $dry ]]; then rm -f -- "$1"; fi
}

# What was done.
told() {
    if [[ -z $dry ]]; then say "$@"; fi
}

faults=0
missing() {
    faults=$((faults + 1))
    say "  ${red}$1${plain}"
    say "    -> $2"
}

show_iommu() {
    local groups
    say "${bold}IOMMU and VFIO${plain}"
    if iommu_works; then
        groups=("$at"/sys/kernel/iommu_groups/*)
        say "  IOMMU: on, ${#groups[@]} groups"
    elif [[ $(read_line "$noiommu") == [Y1] ]]; then
        say "  IOMMU: none; VFIO was told to do without: cards can write to all memory"
    else
        missing "IOMMU: none" "$(iommu_fix). Without one: \"nic.sh bind --no-iommu\""
    fi
    if vfio_loaded; then
        say "  vfio-pci: loaded"
    elif modprobe -n -q vfio-pci 2>/dev/null; then
        say "  vfio-pci: not loaded yet; \"nic.sh bind\" does"
    else
        missing "vfio-pci: this kernel has none" "install a kernel with the module vfio-pci; Debian's linux-image-amd64 has it"
    fi
}

# Some lines for a card: what it is, and what keeps DPDK from it. Counts in `ready`.
show_card() {
    local card=$1 driver had id group names why
    driver=$(driver_of "$card")
    group=$(group_of "$card")
    names=$(interfaces_of "$card")
    id=$(read_line "$pci/$card/vendor"):$(read_line "$pci/$card/device")
    say "  $card  ${id//0x/}  node $(node_of "$card")  group ${group:-none}  ${driver:-no driver}${names:+  $names}"
    if [[ -e $state/card.$card ]]; then
        { read -r had && read -r names; } <"$state/card.$card" || true
        say "    was: $had${names:+, $names}"
    fi
    why=$(why_kept "$card")
    if [[ -n $why ]]; then
        say "    stays with the kernel: $why"
    elif [[ -n $driver && " $bifurcated " == *" $driver "* ]]; then
        ready=$((ready + 1))
        say "    ready: DPDK shares it with $driver"
    elif [[ $driver == vfio-pci ]]; then
        why=$(group_holders "$card")
        if [[ -n $why ]]; then
            missing "in one IOMMU group with ${why//$'\n'/, }" "nic.sh bind ${why//$'\n'/ }; VFIO hands out whole groups only"
        else
            ready=$((ready + 1))
            say "    ready"
        fi
    else
        say "    could be bound: nic.sh bind $card"
    fi
}

run_status() {
    local found card kb ready=0
    ((${#cards[@]} == 0)) || usage_error "status takes no CARD"
    find_kept
    show_iommu
    say "${bold}Hugepages${plain}"
    show_hugepages
    pages_of_size 2048 || pages_of_size 1048576 ||
        missing "no hugepages" "nic.sh bind --hugepages 2M=512, or 1G=2; or start the engine with --no-huge in dpdk.eal, at a price"
    for kb in 2048 1048576; do
        if pages_of_size "$kb" && [[ -z $(mounted_at "$kb") ]]; then
            missing "no mount for $(size_name "$kb") pages" "nic.sh bind --hugepages $(size_option "$kb")=1 mounts it"
        fi
    done
    say "${bold}Network cards${plain}"
    mapfile -t found < <(network_cards)
    for card in ${found[@]+"${found[@]}"}; do show_card "$card"; done
    if ((${#found[@]} == 0)); then say "  none on PCI"; fi
    if ((ready < 2)); then missing "$ready of the 2 cards that a wire needs are ready" "nic.sh bind CARD CARD"; fi
    ((faults == 0))
}

# Ends here if one of the cards cannot be bound; says all reasons first.
check_cards() {
    local card why bad=0
    for card in "${cards[@]}"; do
        [[ $(driver_of "$card") != vfio-pci ]] || continue
        why=$(why_kept "$card")
        if [[ -n $why ]]; then
            refuse "$card: $why. It is never bound"
            continue
        fi
        why=$(used_for "$card")
        if [[ -n $why && -z $in_use ]]; then
            refuse "$card: ${why//$'\n'/; }. Take that away (ip address del, ip link set nomaster), or say --in-use"
        fi
        why=$(read_line "$pci/$card/sriov_numvfs")
        if [[ -n $why && $why != 0 ]]; then
            refuse "$card: has $why virtual functions, which would vanish. First: echo 0 > /sys/bus/pci/devices/$card/sriov_numvfs"
        fi
        why=$(group_holders "$card" "${cards[@]}")
        if [[ -n $why ]]; then
            refuse "$card: shares an IOMMU group with ${why//$'\n'/, }, and VFIO hands out whole groups. Name these as well, or put the card in another slot"
        fi
        if iommu_works && [[ -z $(group_of "$card") ]]; then
            refuse "$card: is behind no IOMMU, although there is one: dmesg | grep -i iommu"
        fi
    done
    ((bad == 0)) || die "nothing was changed"
}

# Counts in `bad`.
refuse() {
    printf '%s%s%s\n' "$red" "$*" "$plain" >&2
    bad=$((bad + 1))
}

check_iommu() {
    if ! iommu_works && [[ $(read_line "$noiommu") != [Y1] && -z $no_iommu ]]; then
        die "there is no IOMMU: $(iommu_fix). Or say --no-iommu, and the card, and who drives it, can write to all memory"
    fi
}

prepare_vfio() {
    local said
    if ! vfio_loaded; then
        if [[ -n $dry ]]; then
            say "would run: modprobe vfio-pci"
        else
            said=$(modprobe vfio-pci 2>&1) ||
                die "no vfio-pci: ${said:-modprobe failed}. Install a kernel that has it; Debian's linux-image-amd64 does"
            vfio_loaded || die "modprobe vfio-pci made no driver: dmesg | tail"
            remember "$state/module" vfio-pci
        fi
    fi
    if iommu_works; then
        if [[ -n $no_iommu ]]; then say "there is an IOMMU: --no-iommu is not needed, and not done"; fi
    elif [[ $(read_line "$noiommu") != [Y1] ]]; then
        [[ -n $dry || -e $noiommu ]] || die "this kernel's VFIO cannot do without an IOMMU (CONFIG_VFIO_NOIOMMU)"
        put Y "$noiommu" || die "the kernel does not allow VFIO without an IOMMU (is it locked down? /sys/kernel/security/lockdown)"
        remember "$state/noiommu" N
        told "VFIO does without an IOMMU now: cards can write to all memory"
    fi
}

# Moves a card to a driver; an empty one: to whichever the kernel picks.
move_card() {
    local card=$1 driver=$2
    # An empty line takes the override away.
    put "$driver" "$pci/$card/driver_override" || return 1
    if [[ -n $(driver_of "$card") ]]; then put "$card" "$pci/$card/driver/unbind" || return 1; fi
    put "$card" "$at/sys/bus/pci/drivers_probe" || return 1
    [[ -n $dry || -z $driver || $(driver_of "$card") == "$driver" ]]
}

bind_card() {
    local card=$1 driver names
    driver=$(driver_of "$card")
    if [[ $driver == vfio-pci ]]; then
        say "$card is bound to vfio-pci already"
        return
    fi
    if [[ -n $driver && " $bifurcated " == *" $driver "* ]]; then
        say "$card stays with $driver: DPDK works together with it"
        return
    fi
    names=$(interfaces_of "$card")
    remember "$state/card.$card" "${driver:--}" "$names"
    if ! move_card "$card" vfio-pci; then
        say "$card does not go to vfio-pci: dmesg | tail may say why"
        give_card_back "$card" || true
        die "stopped at $card; what was done before it stays until \"nic.sh unbind\""
    fi
    told "$card: vfio-pci, was ${driver:-without driver}${names:+ ($names)}"
}

run_bind() {
    local card spec named=()
    ((${#cards[@]} + ${#pages[@]})) || usage_error "bind what? A CARD or --hugepages"
    if ((${#cards[@]})); then
        find_kept
        check_cards
        for card in "${cards[@]}"; do
            if [[ " $bifurcated vfio-pci " != *" $(driver_of "$card") "* ]]; then named+=("$card"); fi
        done
    fi
    if ((${#named[@]})); then check_iommu; fi
    for spec in ${pages[@]+"${pages[@]}"}; do reserve "$spec"; done
    if ((${#named[@]})); then prepare_vfio; fi
    for card in ${cards[@]+"${cards[@]}"}; do bind_card "$card"; done
}

# Does what one --hugepages says.
reserve() {
    local card count node on=0 kb=2048
    [[ $1 =~ ^(2M|1G)=([0-9]{1,7})(@([0-9]{1,3}))?$ ]] ||
        usage_error "--hugepages wants SIZE=N[@NODE], as 2M=512 or 1G=2@0, not \"$1\""
    if [[ ${BASH_REMATCH[1]} == 1G ]]; then kb=1048576; fi
    count=$((10#${BASH_REMATCH[2]})) node=${BASH_REMATCH[4]}
    if [[ -n $node ]]; then
        on=$node
    elif ((${#cards[@]})); then
        on=$(for card in "${cards[@]}"; do printf '%s\n' "$(node_of "$card")"; done | sort -un)
    fi
    for node in $on; do reserve_pages "$node" "$kb" "$count"; done
}

# Gives one card to the driver that it had.
give_card_back() {
    local card=$1 record=$state/card.$1 had='' names='' now users
    if [[ -e $record ]]; then { read -r had && read -r names; } <"$record" || true; fi
    now=$(driver_of "$card")
    if [[ -z $had && $now != vfio-pci ]]; then
        say "$card is not bound to vfio-pci: nothing to do"
        return
    fi
    users=$(vfio_users "$card")
    if [[ -n $users ]]; then
        say "$card is in use by process ${users//$'\n'/, }: stop it first, for the kernel would wait for it"
        return 1
    fi
    if [[ $had == - ]]; then
        put '' "$pci/$card/driver_override" || return 1
        if [[ $now == vfio-pci ]]; then put "$card" "$pci/$card/driver/unbind" || return 1; fi
    elif [[ -z $had || $now != "$had" ]]; then
        if [[ -n $had && ! -d $at/sys/bus/pci/drivers/$had ]]; then change modprobe "$had" || true; fi
        move_card "$card" '' || return 1
        now=$(driver_of "$card")
        if [[ -n $had && -z $dry && $now != "$had" ]]; then
            say "$card: $had does not take it back (${now:-no driver} has it): modprobe $had; echo $card > /sys/bus/pci/drivers/$had/bind"
            return 1
        fi
    fi
    forget "$record"
    if [[ -n $dry ]]; then return; fi
    now=$(driver_of "$card")
    names=$(interfaces_of "$card")
    say "$card: ${now:-without driver}${names:+ ($names)} again"
}

run_unbind() {
    local card record failed=0
    if ((${#cards[@]})); then
        for card in "${cards[@]}"; do give_card_back "$card" || failed=1; done
        return "$failed"
    fi
    for record in "$state"/card.*; do
        if [[ -e $record ]]; then give_card_back "${record##*/card.}" || failed=1; fi
    done
    ((failed == 0)) || die "hugepages and the rest stay until all cards are back"
    give_pages_back
    if [[ -e $state/noiommu ]]; then
        put "$(read_line "$state/noiommu")" "$noiommu" || true
        forget "$state/noiommu"
        told "VFIO wants an IOMMU again"
    fi
    if [[ -e $state/module ]]; then
        # Somebody else may have come to use it meanwhile.
        change modprobe -q -r vfio-pci || true
        forget "$state/module"
    fi
    if [[ -z $dry && -d $state ]]; then rmdir "$state" || true; fi
}

# Prints the address of a card that may be known by the name of an interface that is gone since it was bound.
former_address_of() {
    local record names
    for record in "$state"/card.*; do
        [[ -e $record ]] || continue
        { read -r _ && read -r names; } <"$record" || true
        if [[ " $names " == *" $1 "* ]]; then
            printf '%s' "${record##*/card.}"
            return
        fi
    done
    address_of "$1"
}

command=${1-}
case $command in
status | bind | unbind) shift ;;
-h | --help)
    usage
    exit 0
    ;;
*) usage_error "the first word is status, bind or unbind${command:+, not $command}" ;;
esac
while (($#)); do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --dry-run) dry=1 ;;
    --persistent) persistent=1 ;;
    --in-use) in_use=1 ;;
    --no-iommu) no_iommu=1 ;;
    --hugepages)
        (($# > 1)) || usage_error "--hugepages wants SIZE=N[@NODE]"
        pages+=("$2")
        shift
        ;;
    -*) usage_error "unknown option $1" ;;
    *) cards+=("$1") ;;
    esac
    shift
done
if [[ $command != bind && -n "$persistent$in_use$no_iommu${pages[*]-}" ]]; then
    usage_error "$command takes no option of bind"
fi
[[ -z $persistent || -n ${pages[*]-} ]] || usage_error "--persistent is about --hugepages"
[[ $command == status || -n $at || -n $dry ]] || [[ $(id -u) -eq 0 ]] || die "this needs root; run it again with sudo"

for i in ${cards[@]+"${!cards[@]}"}; do
    if [[ $command == unbind ]]; then
        cards[i]=$(former_address_of "${cards[i]}")
    else
        cards[i]=$(address_of "${cards[i]}")
    fi
done
"run_$command"
